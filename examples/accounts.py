"""One model through three accounts: approved in build, served in staging and, after a second person, in production."""

import aws_cdk as cdk

from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    Environment,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    PlatformDefaults,
    RolloutChecks,
    RolloutPolicy,
)

# [start:chain]
BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
PRODUCTION = Environment("production", account="333333333333", region="eu-west-1")
IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
CAPACITY = EndpointCapacity.instances("ml.m5.large", instance_count=2)
CHECKS = RolloutChecks(probation=cdk.Duration.hours(6))
CANARY = RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10), checks=CHECKS)


def retail(stack: cdk.Stack) -> PlatformDefaults:
    """Return what the platform asks for: every account is of the organization that context names."""
    return PlatformDefaults(name="retail", organization_id=stack.node.try_get_context("organization"))


class Build(cdk.Stack):
    """Where a model is registered and approved: what is approved is released."""

    def __init__(self, app: cdk.App, *, deploy_to: list[Environment]) -> None:
        super().__init__(app, "Build", env=BUILD.cdk)
        self.unit = BusinessUnit(self, "Unit", name="demand", defaults=retail(self))
        self.registry = ModelRegistry(self, "Registry", business_unit=self.unit, name="forecast", deploy_to=deploy_to)


class Serving(cdk.Stack):
    """Takes what its source releases and serves it: what has served through its probation is released."""

    def __init__(
        self, app: cdk.App, here: Environment, *, source: Environment, approval: Approval, deploy_to: list[Environment]
    ) -> None:
        super().__init__(app, here.name.capitalize(), env=here.cdk)
        self.unit = unit = BusinessUnit(self, "Unit", name="demand", defaults=retail(self))
        self.registry = registry = ModelRegistry.from_environment(
            self, "Registry", business_unit=unit, name="forecast", source=source, approval=approval, deploy_to=deploy_to
        )
        self.endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="forecast",
            image=IMAGE,
            capacity=CAPACITY,
            rollout=CANARY,
        )


def compose(app: cdk.App) -> tuple[Build, Serving, Serving]:
    """Define the chain; its stacks refer to each other by fixed names alone, and are deployed in any order."""
    return (
        Build(app, deploy_to=[STAGING]),
        Serving(app, STAGING, source=BUILD, approval=Approval.automatic(), deploy_to=[PRODUCTION]),
        Serving(app, PRODUCTION, source=STAGING, approval=Approval.manual(), deploy_to=[]),
    )


# [end:chain]
