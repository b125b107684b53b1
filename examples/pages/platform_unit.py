"""A unit on the platform of ``examples/platform_defaults.py``, and another stack of it."""

import aws_cdk as cdk

from constructs import Construct
from examples.platform_defaults import RETAIL
from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    RolloutChecks,
    RolloutPolicy,
)


class Pricing(cdk.Stack):
    """A team's stack, with the values that the platform requires, and some stricter ones."""

    def __init__(self, scope: Construct, id: str, *, image: ModelImage, env: cdk.Environment) -> None:
        super().__init__(scope, id, env=env)
        # [start:unit]
        unit = BusinessUnit(
            self,
            "Unit",
            name="pricing",
            owner="pricing-team@example.com",
            cost_center="4711",
            tags={"data-class": "internal"},
            defaults=RETAIL,
        )
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="prices")
        ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="prices",
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
            rollout=RolloutPolicy.canary(
                percent=50, bake=cdk.Duration.minutes(20), checks=RolloutChecks(probation=cdk.Duration.hours(48))
            ),
        )
        # [end:unit]


class Discounts(cdk.Stack):
    """Another stack of the unit, in another repository with the same package of the platform."""

    def __init__(self, scope: Construct, id: str, *, env: cdk.Environment) -> None:
        super().__init__(scope, id, env=env)
        # [start:second]
        unit = BusinessUnit.from_name(self, "Unit", name="pricing", defaults=RETAIL)
        # [end:second]
        ModelRegistry(
            self,
            "Registry",
            business_unit=unit,
            name="discounts",
            approval=Approval.manual(timeout=cdk.Duration.days(1)),
        )
