"""Resources that a platform team deploys to a unit's account before the unit's first deployment."""

from typing import Literal

import aws_cdk as cdk

from constructs import Construct
from mlops_constructs import Environment, GitLabDeployRole, GitLabSubject


# [start:platform]
class Platform(cdk.Stack):
    """The roles with which a GitLab project plans and deploys, from its protected default branch."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        project: str,
        tier: Literal["production", "staging", "development"] | None = None,
        env: cdk.Environment | None = None,
    ) -> None:
        super().__init__(scope, id, env=env)
        subject = GitLabSubject.branch("main", project=project, claims_environment=True, tier=tier)
        deploys = GitLabDeployRole(self, "GitLab", subject=subject)
        plans = GitLabDeployRole(self, "Plan", subject=subject.unapproved(), access="plan", provider=deploys.provider)
        cdk.CfnOutput(self, "DeployRole", value=deploys.role.role_arn)
        cdk.CfnOutput(self, "PlanRole", value=plans.role.role_arn)
        cdk.CfnOutput(self, "SubjectComponents", value=",".join(subject.components))


# [end:platform]


# [start:environments]
BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
PRODUCTION = Environment("production", account="333333333333", region="eu-west-1")


def platforms(app: cdk.App, *, project: str) -> list[Platform]:
    """Define the roles in each account, for the deployment tier that the project's jobs use there; no account trusts another."""
    return [
        Platform(app, "PlatformBuild", project=project, tier="development", env=BUILD.cdk),
        Platform(app, "PlatformStaging", project=project, tier="staging", env=STAGING.cdk),
        Platform(app, "PlatformProduction", project=project, tier="production", env=PRODUCTION.cdk),
    ]


# [end:environments]
