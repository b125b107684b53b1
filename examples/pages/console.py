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
def let_read(
    role: iam.IRole, *, unit: BusinessUnit, registry: ModelRegistry, endpoint: ModelEndpoint, below: str = "mlops"
) -> None:
    """Let a role read what the console shows of a unit and its endpoint, and find units by their parameters below a path."""
    stack, rollout, colon = cdk.Stack.of(unit), endpoint.rollout, cdk.ArnFormat.COLON_RESOURCE_NAME
    registry.grant_read(role)
    unit.grant_verify(role)
    entries = stack.format_arn(service="ssm", resource="parameter", resource_name=below)
    alarms = stack.format_arn(service="cloudwatch", resource="alarm", resource_name="*", arn_format=colon)
    machine = rollout.machine.state_machine_name
    executions = stack.format_arn(
        service="states", resource="execution", resource_name=f"{machine}:*", arn_format=colon
    )
    served = [
        stack.format_arn(service="sagemaker", resource=resource, resource_name=f"{unit.name}-*")
        for resource in ("endpoint", "endpoint-config")
    ]
    folders = [f"{folder}/*" for folder in ("monitor", "evaluations", "gates", "releases")]
    allowed = {
        ("ssm:GetParameter", "ssm:GetParametersByPath"): [entries, f"{entries}/*"],
        ("dynamodb:GetItem",): [unit.automation_table.table_arn, rollout.table.table_arn],
        ("s3:GetObject",): [unit.artifacts.arn_for_objects(folder) for folder in folders],
        ("states:ListExecutions",): [rollout.machine.state_machine_arn],
        ("states:DescribeExecution", "states:GetExecutionHistory"): [executions],
        ("cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms"): [alarms],
        ("sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig"): served,
        # p99 of a rollout's fleets, and costs a day: IAM narrows neither to a resource
        ("cloudwatch:GetMetricData", "ce:GetCostAndUsage"): ["*"],
    }
    for actions, resources in allowed.items():
        iam.Grant.add_to_principal(grantee=role, actions=list(actions), resource_arns=resources)
    services = [f"{service}.{stack.region}.{stack.url_suffix}" for service in ("dynamodb", "s3")]
    for action, resource, condition in (
        ("s3:ListBucket", unit.artifacts.bucket_arn, {"StringLike": {"s3:prefix": folders}}),
        # what is encrypted is read through the services that hold it
        ("kms:Decrypt", unit.key.key_arn, {"StringEquals": {"kms:ViaService": services}}),
    ):
        iam.Grant.add_to_principal(grantee=role, actions=[action], resource_arns=[resource], conditions=condition)


# [end:reader]
