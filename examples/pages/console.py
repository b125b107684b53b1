"""The console of an account, and the roles in which its people act."""

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
    """A unit with a model, and the console for those who look after it."""

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
            let_read(role, unit=unit, registry=registry, endpoint=endpoint)
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


# [start:reader]
def let_read(role: iam.IRole, *, unit: BusinessUnit, registry: ModelRegistry, endpoint: ModelEndpoint) -> None:
    """Let a role read what the console shows of a unit and its endpoint."""
    stack, rollout = cdk.Stack.of(unit), endpoint.rollout
    registry.grant_read(role)
    unit.grant_verify(role)
    unit.automation_table.grant_read_data(role)
    for folder in ("monitor", "evaluations", "gates"):
        unit.artifacts.grant_read(role, f"{folder}/*")
    rollout.table.grant_read_data(role)
    rollout.machine.grant_read(role)
    entries = stack.format_arn(service="ssm", resource="parameter", resource_name="mlops")
    alarms = stack.format_arn(
        service="cloudwatch", resource="alarm", resource_name="*", arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
    )
    served = [
        stack.format_arn(service="sagemaker", resource=resource, resource_name=f"{unit.name}-*")
        for resource in ("endpoint", "endpoint-config", "model")
    ]
    allowed = {
        ("ssm:GetParameter", "ssm:GetParametersByPath"): [entries, f"{entries}/*"],
        ("cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms"): [alarms],
        ("sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"): served,
        # p99 of a rollout's fleets, and costs a day: IAM narrows neither to a resource
        ("cloudwatch:GetMetricData", "ce:GetCostAndUsage"): ["*"],
    }
    for actions, resources in allowed.items():
        iam.Grant.add_to_principal(grantee=role, actions=list(actions), resource_arns=resources)


# [end:reader]
