"""What a platform team puts into a unit's account before the unit deploys for the first time."""

import aws_cdk as cdk

from constructs import Construct
from mlops_constructs import GitLabDeployRole, GitLabSubject


# --8<-- [start:platform]
class Platform(cdk.Stack):
    """The role that one GitLab project deploys with, from its protected default branch."""

    def __init__(self, scope: Construct, id: str, *, project: str) -> None:
        super().__init__(scope, id)
        subject = GitLabSubject.branch("main", project=project)
        gitlab = GitLabDeployRole(self, "GitLab", subject=subject)
        cdk.CfnOutput(self, "DeployRole", value=gitlab.role.role_arn)
        cdk.CfnOutput(self, "SubjectComponents", value=",".join(subject.components))


# --8<-- [end:platform]
