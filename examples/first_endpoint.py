"""The smallest stack: a business unit, a registry, an endpoint.

Its first model serves as soon as a package is approved.
"""

import aws_cdk as cdk

from constructs import Construct
from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Network,
    Profile,
)


class FirstEndpoint(cdk.Stack):
    """One endpoint on one instance, in a development unit, which creates its network if none is given."""

    def __init__(self, scope: Construct, id: str, *, image: ModelImage, network: Network | None = None) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="pilot", profile=Profile.DEVELOPMENT, network=network)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="first")
        capacity = EndpointCapacity.instances("ml.m5.large", instance_count=1)
        ModelEndpoint(
            self, "Endpoint", business_unit=unit, registry=registry, name="first", image=image, capacity=capacity
        )
