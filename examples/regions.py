"""One model in three Regions: production, a pilot light in the same account, and another serving account."""

import aws_cdk as cdk

from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    Environment,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    RolloutChecks,
    RolloutPolicy,
)

# [start:regions]
BUILD = Environment("build", account="111111111111", region="eu-west-1")
PRODUCTION = Environment("production", account="333333333333", region="eu-west-1")
RECOVERY = Environment("recovery", account="333333333333", region="eu-central-1")
AMERICAS = Environment("americas", account="222222222222", region="us-east-1")
IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
FULL = EndpointCapacity.instances("ml.m5.large", instance_count=2)
CHECKS = RolloutChecks(probation=cdk.Duration.hours(6))
CANARY = RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10), checks=CHECKS)


class Build(cdk.Stack):
    """Account that registers and approves models."""

    def __init__(self, app: cdk.App, *, deploy_to: list[Environment]) -> None:
        super().__init__(app, "Build", env=BUILD.cdk)
        self.unit = BusinessUnit(self, "Unit", name="demand")
        self.registry = ModelRegistry(self, "Registry", business_unit=self.unit, name="forecast", deploy_to=deploy_to)


class Serving(cdk.Stack):
    """Region that promotes its source's releases and serves them, with a canary if it has traffic to compare."""

    def __init__(
        self,
        app: cdk.App,
        here: Environment,
        *,
        source: Environment,
        deploy_to: list[Environment],
        capacity: EndpointCapacity = FULL,
    ) -> None:
        super().__init__(app, here.name.capitalize(), env=here.cdk)
        self.unit = unit = BusinessUnit(self, "Unit", name="demand")
        self.registry = registry = ModelRegistry.from_environment(
            self,
            "Registry",
            business_unit=unit,
            name="forecast",
            source=source,
            approval=Approval.automatic(),
            deploy_to=deploy_to,
        )
        self.endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="forecast",
            image=IMAGE,
            capacity=capacity,
            rollout=CANARY if capacity.instance_count > 1 else RolloutPolicy.all_at_once(),
        )


def compose(app: cdk.App) -> tuple[Build, Serving, Serving, Serving]:
    """Define all Regions; with ``-c failover=true`` the recovery Region serves, with releases from build instead of production."""
    is_away = app.node.try_get_context("failover") is not None
    light = EndpointCapacity.serverless(memory=cdk.Size.gibibytes(2), max_concurrency=100 if is_away else 5)
    return (
        Build(app, deploy_to=[PRODUCTION, RECOVERY] if is_away else [PRODUCTION]),
        Serving(app, PRODUCTION, source=BUILD, deploy_to=[AMERICAS] if is_away else [RECOVERY, AMERICAS]),
        Serving(app, RECOVERY, source=BUILD if is_away else PRODUCTION, deploy_to=[], capacity=light),
        Serving(app, AMERICAS, source=PRODUCTION, deploy_to=[]),
    )


# [end:regions]
