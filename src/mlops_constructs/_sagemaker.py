"""What every role around SageMaker needs: ARNs by name, network, logs, conditions that keep jobs and models in their place."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct

SERVICE = "sagemaker.amazonaws.com"
# SageMaker places containers in a VPC with the role of the job or model.
# https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createmodel-perms
_NETWORK = (
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)
_OF_GROUP = ("logs:CreateLogGroup", "logs:DescribeLogStreams")
_OF_STREAM = ("logs:CreateLogStream", "logs:PutLogEvents")
ROLE_REASON = (
    "network interfaces, the registry's token and metrics have no resource type, and SageMaker names jobs, log groups and streams "
    "itself, below fixed prefixes; rejected: AWS's managed policy AmazonSageMakerFullAccess"
)


def sagemaker_arn(scope: Construct, resource: str, name: str) -> str:
    """Return the ARN of a SageMaker resource, such as ``endpoint`` ``demand-forecast``; a name may end with ``*``."""
    return cdk.Stack.of(scope).format_arn(service="sagemaker", resource=resource, resource_name=name)


def alarm_arn(scope: Construct, name: str) -> str:
    """Return the ARN of a CloudWatch alarm; a name may end with ``*``."""
    return cdk.Stack.of(scope).format_arn(
        service="cloudwatch", resource="alarm", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
    )


def describe_alarms_statement() -> iam.PolicyStatement:
    """Return the right to read the state of alarms; composite ones are shown only to who may read all.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
    """
    return iam.PolicyStatement(actions=["cloudwatch:DescribeAlarms"], resources=["*"])


def container_statements(
    scope: Construct,
    *,
    log_group: str,
    namespace: str,
    streams: Sequence[str] = ("*",),
    is_networked: bool = True,
    more_logs: Sequence[str] = (),
) -> list[iam.PolicyStatement]:
    """Return what SageMaker does with the role of any container: network, logs, metrics.

    All jobs of an account write to one group a kind, so that a job's role is held to the streams of its own jobs. An endpoint has
    a group of its own.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html

    Args:
        scope: Any construct of the stack.
        log_group: Name of the log group that SageMaker makes; may end with ``*``.
        namespace: CloudWatch namespace of the container's metrics.
        streams: Names of the streams that it may write to, such as ``demand-forecast-*/*``. Default: any of the groups.
        is_networked: Whether containers are placed in a VPC, as all but serverless ones are. Default: they are.
        more_logs: Names of further log groups. Default: none.
    """
    groups = [
        cdk.Stack.of(scope).format_arn(
            service="logs", resource="log-group", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
        )
        for name in (log_group, *more_logs)
    ]
    return [
        *([iam.PolicyStatement(actions=list(_NETWORK), resources=["*"])] if is_networked else []),
        # AWS evaluates calls on the stream, whose name is empty where a call names none
        iam.PolicyStatement(
            actions=list(_OF_GROUP), resources=[arn for group in groups for arn in (group, f"{group}:log-stream:")]
        ),
        iam.PolicyStatement(
            actions=list(_OF_STREAM),
            resources=[f"{group}:log-stream:{stream}" for group in groups for stream in streams],
        ),
        iam.PolicyStatement(
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringEquals": {"cloudwatch:namespace": namespace}},
        ),
    ]


def placed(
    *, subnets: Sequence[str], security_groups: Sequence[str], is_isolated: bool | None = None
) -> dict[str, Mapping[str, object]]:
    """Return the conditions under which a model or job may be created: in these subnets, in isolation where that works.

    See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html

    Args:
        subnets: Ids of the only subnets allowed.
        security_groups: Ids of the only security groups allowed.
        is_isolated: Whether network isolation must be on. Default: either is allowed.
    """
    conditions: dict[str, Mapping[str, object]] = {
        # without the Null test a request that leaves the network out would pass
        "ForAllValues:StringEquals": {
            "sagemaker:VpcSubnets": list(subnets),
            "sagemaker:VpcSecurityGroupIds": list(security_groups),
        },
        "Null": {"sagemaker:VpcSubnets": "false", "sagemaker:VpcSecurityGroupIds": "false"},
    }
    if is_isolated is not None:
        conditions["Bool"] = {"sagemaker:NetworkIsolation": str(is_isolated).lower()}
    return conditions
