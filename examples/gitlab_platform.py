"""What a platform team puts into a unit's account before the unit deploys for the first time."""

import aws_cdk as cdk

from constructs import Construct
from mlops_constructs import GitLabDeployRole, GitLabSubject


# [start:platform]
class Platform(cdk.Stack):
    """The roles that one GitLab project plans and deploys with, from its protected default branch."""

    def __init__(self, scope: Construct, id: str, *, project: str) -> None:
        super().__init__(scope, id)
        subject = GitLabSubject.branch("main", project=project, claims_environment=True)
        deploys = GitLabDeployRole(self, "GitLab", subject=subject)
        plans = GitLabDeployRole(self, "Plan", subject=subject.unapproved(), access="plan", provider=deploys.provider)
        cdk.CfnOutput(self, "DeployRole", value=deploys.role.role_arn)
        cdk.CfnOutput(self, "PlanRole", value=plans.role.role_arn)
        cdk.CfnOutput(self, "SubjectComponents", value=",".join(subject.components))


# [end:platform]
