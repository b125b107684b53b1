"""A unit in several stacks: one owns it; others import it by name and add features, a model and its monitor, or an endpoint."""

import aws_cdk as cdk

from constructs import Construct
from examples.pages.feature_groups import STOCK
from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    DriftAlarms,
    EndpointCapacity,
    FeatureStore,
    ModelEndpoint,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    Profile,
)


class Owner(cdk.Stack):
    """The unit, in the repository of the owning team."""

    def __init__(self, scope: Construct, id: str, *, name: str, profile: Profile) -> None:
        super().__init__(scope, id)
        # [start:owner]
        unit = BusinessUnit(self, "Unit", name=name, profile=profile)
        # both are required by the resources of the other stack
        unit.reach(["ecr.api"])
        unit.admit_rules()
        # [end:owner]


class Returns(cdk.Stack):
    """More of the same unit, in another repository."""

    def __init__(self, scope: Construct, id: str, *, name: str, profile: Profile, image: ModelImage) -> None:
        super().__init__(scope, id)
        # [start:second]
        unit = BusinessUnit.from_name(self, "Unit", name=name, profile=profile)
        self.store = FeatureStore(
            self, "Features", business_unit=unit, groups=[STOCK], lock_file="examples/pages/features.lock.json"
        )
        self.registry = ModelRegistry(self, "Registry", business_unit=unit, name="returns")
        self.endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=self.registry,
            name="returns",
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
            capture=DataCapture(sampling_percent=100),
        )
        self.monitor = ModelMonitor(
            self, "Monitor", endpoint=self.endpoint, window=cdk.Duration.days(7), interval=cdk.Duration.days(1)
        )
        DriftAlarms(self, "Alarms", monitor=self.monitor)
        # [end:second]


class Regional(cdk.Stack):
    """An endpoint for a registry in another stack of the unit."""

    def __init__(self, scope: Construct, id: str, *, name: str, profile: Profile, image: ModelImage) -> None:
        super().__init__(scope, id)
        # [start:endpoint]
        unit = BusinessUnit.from_name(self, "Unit", name=name, profile=profile)
        registry = ModelRegistry.from_registry_name(
            self, "Registry", business_unit=unit, name="forecast", pipelines=["weekly"]
        )
        self.endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="regional",
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        )
        # [end:endpoint]
