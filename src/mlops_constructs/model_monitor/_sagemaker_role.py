"""What the jobs of one of SageMaker Model Monitor's monitors may do."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._iam import ServiceRole, key_statement, service_role
from mlops_constructs._sagemaker import ROLE_REASON, SERVICE, container_statements, sagemaker_arn
from mlops_constructs.model_monitor._sagemaker_images import Image, repository_arns
from mlops_constructs.model_monitor._sagemaker_settings import WITH_LABELS
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.monitor.model_monitor.execution_store import model_monitor_prefix
from mlops_runtime.monitor.model_monitor.executions import MonitorName

# where SageMaker puts what a job writes below /opt/ml/output/metrics/cloudwatch
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-cloudwatch.html
NAMESPACES = {
    "data_quality": "aws/sagemaker/Endpoints/data-metrics",
    "model_quality": "aws/sagemaker/Endpoints/model-metrics",
    "bias": "aws/sagemaker/Endpoints/bias-metrics",
    "explainability": "aws/sagemaker/Endpoints/explainability-metrics",
}
_LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
# SageMaker names these jobs itself, by kind and time and not by schedule
# claim: monitoring-jobs-are-named-by-kind
_STREAMS = ("groundtruth-merge-*", "*-monitoring-*")
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
# Clarify asks a copy of the model, on an endpoint of its own that it deletes afterwards
# https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-configure-analysis.html
_COPY = "sm-clarify-*"
_REASON = (
    f"Clarify names its copies of the model itself, below a fixed prefix, and executions lie by hour; {ROLE_REASON}"
)


def define_monitor_role(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    monitor: MonitorName,
    endpoint_name: str,
    captures: s3.IBucket,
    image: Image,
    files: Sequence[str],
) -> ServiceRole:
    """Define the role of one monitor's jobs.

    SageMaker assumes it for definitions, schedules and processing jobs alike, so any of the account's SageMaker resources may be
    the source.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        monitor: The monitor.
        endpoint_name: The endpoint.
        captures: Bucket of captures and labels.
        image: Image that the jobs run.
        files: S3 URIs of baselines, configs and scripts that they read.
    """
    stack, artifacts = cdk.Stack.of(scope), business_unit.artifacts
    prefix = f"{model_monitor_prefix(endpoint_name)}/{monitor}"
    folders = [f"capture/{endpoint_name}/*"]
    if monitor in WITH_LABELS:
        folders.append(f"labels/{endpoint_name}/*")
    objects = [_object_arn(stack, uri) for uri in files]
    statements = [
        iam.PolicyStatement(actions=["ecr:GetAuthorizationToken"], resources=["*"]),
        iam.PolicyStatement(actions=list(_PULL), resources=repository_arns(scope, image)),
        iam.PolicyStatement(
            actions=["s3:GetObject"], resources=[*(captures.arn_for_objects(folder) for folder in folders), *objects]
        ),
        _list(captures.bucket_arn, *folders),
        *(_list(*parts) for parts in _folders(stack, files)),
        iam.PolicyStatement(actions=["s3:PutObject"], resources=[artifacts.arn_for_objects(f"{prefix}/*")]),
        key_statement(business_unit.key, services=["s3"]),
        # volumes of the instances
        key_statement(business_unit.key, services=["sagemaker"], actions=["kms:CreateGrant", "kms:DescribeKey"]),
        *container_statements(scope, log_group=_LOG_GROUP, namespace=NAMESPACES[monitor], streams=_STREAMS),
    ]
    if monitor in WITH_LABELS:  # what the first of the two jobs of an execution has joined
        joined = f"{prefix}/merge/*"
        statements += [
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[artifacts.arn_for_objects(joined)]),
            _list(artifacts.bucket_arn, joined),
        ]
    if monitor == "explainability":
        statements += _copy_statements(scope, endpoint_name)
    return service_role(
        scope,
        id,
        service=SERVICE,
        statements=statements,
        business_unit=business_unit,
        description=f"Jobs of Model Monitor that watch {monitor.replace('_', ' ')} of {endpoint_name}",
        source_arn=stack.format_arn(service="sagemaker", resource="*", arn_format=cdk.ArnFormat.NO_RESOURCE_NAME),
        wildcard_reason=_REASON,
    )


def _copy_statements(scope: Construct, endpoint_name: str) -> list[iam.PolicyStatement]:
    copies, configs = sagemaker_arn(scope, "endpoint", _COPY), sagemaker_arn(scope, "endpoint-config", _COPY)
    endpoint = ("Create", "Delete", "Describe")
    return [
        iam.PolicyStatement(
            actions=["sagemaker:DescribeModel"], resources=[sagemaker_arn(scope, "model", f"{endpoint_name}-*")]
        ),
        iam.PolicyStatement(
            actions=[*(f"sagemaker:{verb}Endpoint" for verb in endpoint), "sagemaker:InvokeEndpoint"],
            resources=[copies, configs],
        ),
        iam.PolicyStatement(
            actions=[*(f"sagemaker:{verb}EndpointConfig" for verb in endpoint), "sagemaker:AddTags"],
            resources=[configs, copies],
        ),
    ]


def _object_arn(stack: cdk.Stack, uri: str) -> str:
    return f"arn:{stack.partition}:s3:::{uri.removeprefix('s3://')}"


def _folders(stack: cdk.Stack, uris: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each bucket's ARN with the keys that are listed in it: a job's input is a prefix."""
    found: dict[str, list[str]] = {}
    for uri in uris:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        found.setdefault(f"arn:{stack.partition}:s3:::{bucket}", []).append(key)
    return [(arn, *keys) for arn, keys in found.items()]


def _list(bucket_arn: str, *prefixes: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        actions=["s3:ListBucket"], resources=[bucket_arn], conditions={"StringLike": {"s3:prefix": list(prefixes)}}
    )
