"""The console of an account, and the roles of its users."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs import (
    BusinessUnit,
    Console,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Network,
    Profile,
)


class Shown(cdk.Stack):
    """A unit with a model, and the console for its operators."""

    def __init__(
        self, scope: Construct, id: str, *, profile: Profile, image: ModelImage, network: Network | None = None
    ) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="shown", profile=profile, network=network)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="forecast")
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="forecast",
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        )
        # [start:console]
        reader = iam.Role(self, "Reader", assumed_by=iam.AccountRootPrincipal())
        on_call = iam.Role(self, "OnCall", assumed_by=iam.AccountRootPrincipal())
        for role in (reader, on_call):
            unit.grant_verify(role)
            endpoint.rollout.grant_read(role)
        unit.grant_pause(on_call)
        endpoint.rollout.grant_deploy(on_call)
        console = Console(
            self,
            "Console",
            business_unit=unit,
            reader=reader,
            on_call=on_call,
            approver=registry.approver_role,
        )
        cdk.CfnOutput(self, "ConsoleUrl", value=console.url)
        cdk.CfnOutput(self, "UserPool", value=console.user_pool.user_pool_id)
        # [end:console]
        self.unit, self.registry, self.endpoint, self.console = unit, registry, endpoint, console
        self.reader, self.on_call = reader, on_call
