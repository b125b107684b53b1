"""SageMaker Model Monitor: job definitions, schedules, images and roles of its monitors."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import aws_cdk as cdk
import jsii
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct, IConstruct
from mlops_constructs._roles import (
    ROLE_REASON,
    SERVICE,
    ServiceRole,
    allow,
    allow_listing,
    container_statements,
    key_statement,
    sagemaker_arn,
    service_role,
)
from mlops_constructs._stack_values import StackValues, mapped_account, stack_of, stack_values
from mlops_constructs._validation import ValidationError, is_known, raise_if_any
from mlops_constructs._warnings import CLOSED_MODEL_MONITOR, warn
from mlops_constructs.model_endpoint import IServedModel
from mlops_constructs.model_monitor.monitor_engine import (
    WITH_CONFIG,
    WITH_LABELS,
    MonitorBaseline,
    SageMakerModelMonitor,
)
from mlops_constructs.model_monitor.monitor_functions import define_job_group
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.instance_types import takes_volume_key
from mlops_runtime.monitor.model_monitor.executions import MonitorName, model_monitor_prefix, schedule_name

Image = Literal["analyzer", "clarify"]
_TABLE = Path(__file__).parent / "sagemaker_images.json"
_REPOSITORIES: Mapping[Image, tuple[str, str]] = {
    "analyzer": ("sagemaker-model-monitor-analyzer", ""),
    "clarify": ("sagemaker-clarify-processing", ":1.0"),
}
# image that joins captures and labels before the analyzer runs, in the same registry account
MERGER = "sagemaker-model-monitor-groundtruth-merger"

# namespaces of the metrics that jobs write to /opt/ml/output/metrics/cloudwatch
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-cloudwatch.html
NAMESPACES = {
    "data_quality": "aws/sagemaker/Endpoints/data-metrics",
    "model_quality": "aws/sagemaker/Endpoints/model-metrics",
    "bias": "aws/sagemaker/Endpoints/bias-metrics",
    "explainability": "aws/sagemaker/Endpoints/explainability-metrics",
}
_LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
# SageMaker names these jobs by kind and time, not by schedule
# claim: monitoring-jobs-are-named-by-kind
_STREAMS = ("groundtruth-merge-*", "*-monitoring-*")
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
# Clarify invokes a copy of the model, on a temporary endpoint that it deletes afterwards
# https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-configure-analysis.html
_COPY = "sm-clarify-*"
_REASON = f"Clarify names its copies of the model itself, with a fixed prefix, and executions are stored by hour; {ROLE_REASON}"

_INPUT = "/opt/ml/processing/input_data"
_OUTPUT = "/opt/ml/processing/output"
_DIGEST = 10  # hexadecimal digits of a definition's name


def image_uri(scope: IConstruct, image: Image) -> str:
    """Return the URI of an image in the stack's region.

    Args:
        scope: Any construct of the stack.
        image: Image of Model Monitor or Clarify.

    Raises:
        ValidationError: If the image is not available in the Region; lists the Regions that have it.
    """
    stack = stack_values(scope)
    repository, tag = _REPOSITORIES[image]
    host = f"{_account(scope, image)}.dkr.ecr.{stack.region}.{stack.url_suffix}"
    return f"{host}/{repository}{tag}"


def repository_arns(scope: IConstruct, image: Image) -> list[str]:
    """Return the ARNs of the ECR repositories that a job's role pulls from.

    Args:
        scope: Any construct of the stack.
        image: Image of the job.
    """
    names = [_REPOSITORIES[image][0], *([MERGER] if image == "analyzer" else [])]
    account = _account(scope, image)
    return [
        stack_values(scope).format_arn(service="ecr", resource="repository", resource_name=name, account=account)
        for name in names
    ]


@cache
def _table() -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = json.loads(_TABLE.read_text())
    return found


def _account(scope: IConstruct, image: Image) -> str:
    stack, accounts = stack_values(scope), _table()[image]
    if not is_known(stack.region):
        return mapped_account(stack_of(scope), f"{image.capitalize()}Accounts", accounts)
    if stack.region not in accounts:
        where = ", ".join(accounts)
        problem = f"{_REPOSITORIES[image][0]} is available in {where}, got region {stack.region!r}; use another engine"
        raise ValidationError("NoImageInRegion", [problem], scope)
    return accounts[stack.region]


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

    SageMaker assumes it for job definitions, schedules and processing jobs, so the trust policy accepts any SageMaker resource of
    the account as source.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        monitor: Kind of the monitor.
        captures: Bucket of captures and labels.
        image: Image that the jobs run.
        files: S3 URIs of baselines, configs and scripts that they read.
    """
    stack, artifacts = stack_values(scope), business_unit.artifacts
    prefix = f"{model_monitor_prefix(endpoint_name)}/{monitor}"
    folders = [f"capture/{endpoint_name}/*"]
    if monitor in WITH_LABELS:
        folders.append(f"labels/{endpoint_name}/*")
    objects = [_object_arn(stack, uri) for uri in files]
    statements = [
        allow("ecr:GetAuthorizationToken", "*"),
        allow(_PULL, *repository_arns(scope, image)),
        allow("s3:GetObject", *(captures.arn_for_objects(folder) for folder in folders), *objects),
        allow_listing(captures.bucket_arn, folders),
        *(allow_listing(arn, keys) for arn, keys in _folders(stack, files).items()),
        allow("s3:PutObject", artifacts.arn_for_objects(f"{prefix}/*")),
        key_statement(business_unit.key, services=["s3"]),
        # volumes of the instances
        key_statement(business_unit.key, services=["sagemaker"], actions=["kms:CreateGrant", "kms:DescribeKey"]),
        *container_statements(scope, log_group=_LOG_GROUP, namespace=NAMESPACES[monitor], streams=_STREAMS),
    ]
    if monitor in WITH_LABELS:  # the first of the two jobs of an execution writes captures joined with labels
        joined = f"{prefix}/merge/*"
        statements += [
            allow("s3:GetObject", artifacts.arn_for_objects(joined)),
            allow_listing(artifacts.bucket_arn, [joined]),
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
        allow("sagemaker:DescribeModel", sagemaker_arn(scope, "model", f"{endpoint_name}-*")),
        allow([*(f"sagemaker:{verb}Endpoint" for verb in endpoint), "sagemaker:InvokeEndpoint"], copies, configs),
        allow([*(f"sagemaker:{verb}EndpointConfig" for verb in endpoint), "sagemaker:AddTags"], configs, copies),
    ]


def _object_arn(stack: StackValues, uri: str) -> str:
    return f"arn:{stack.partition}:s3:::{uri.removeprefix('s3://')}"


def _folders(stack: StackValues, uris: Sequence[str]) -> dict[str, list[str]]:
    """Return the keys to list by the ARN of their bucket, as a job's input is a prefix."""
    found: dict[str, list[str]] = {}
    for uri in uris:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        found.setdefault(f"arn:{stack.partition}:s3:::{bucket}", []).append(key)
    return found


# monitoring type, which is also the definition's construct id; ids of role and schedule; word in property names; image
_KINDS: Mapping[MonitorName, tuple[str, str, str, str, Image]] = {
    "data_quality": ("DataQuality", "DataQualityRole", "DataQualitySchedule", "data_quality", "analyzer"),
    "model_quality": ("ModelQuality", "ModelQualityRole", "ModelQualitySchedule", "model_quality", "analyzer"),
    "bias": ("ModelBias", "ModelBiasRole", "ModelBiasSchedule", "model_bias", "clarify"),
    "explainability": (
        "ModelExplainability",
        "ModelExplainabilityRole",
        "ModelExplainabilitySchedule",
        "model_explainability",
        "clarify",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerMonitors:
    """Environment and permissions that the defined monitors add to the deciding function.

    Args:
        environment: Environment variables that list the monitors.
        statements: Permissions to read executions and schedules, and to write the live model's baselines.
    """

    environment: Mapping[str, str]
    statements: tuple[iam.PolicyStatement, ...]


def define_sagemaker_monitors(
    scope: Construct, *, business_unit: IBusinessUnit, endpoint: IServedModel, settings: SageMakerModelMonitor
) -> SageMakerMonitors:
    """Define a job definition, a schedule and a role for each monitor.

    Args:
        scope: Construct of the monitor.
        business_unit: Owning business unit.
        endpoint: Endpoint with data capture.
        settings: Settings of Model Monitor.

    Returns:
        Environment and permissions for the deciding function.

    Raises:
        ValidationError: If the endpoint is not a SageMaker endpoint, or an image is not available in the Region.
    """
    captures = _validate(scope, endpoint)
    warn(scope, CLOSED_MODEL_MONITOR, endpoint=endpoint.endpoint_name)
    for monitor in settings.monitors:
        _define_monitor(
            scope, monitor, business_unit=business_unit, endpoint=endpoint, captures=captures, settings=settings
        )
    name, artifacts = endpoint.endpoint_name, business_unit.artifacts
    prefix = model_monitor_prefix(name)
    schedules = [
        sagemaker_arn(scope, "monitoring-schedule", schedule_name(name, monitor).lower())
        for monitor in settings.monitors
    ]
    return SageMakerMonitors(
        environment={"MODEL_MONITORS": ",".join(settings.monitors)},
        statements=(
            allow("s3:GetObject", artifacts.arn_for_objects(f"{prefix}/*")),
            allow("s3:PutObject", artifacts.arn_for_objects(f"{prefix}/baselines/*")),
            allow_listing(artifacts.bucket_arn, f"{prefix}/*"),
            allow("sagemaker:DescribeMonitoringSchedule", *schedules),
        ),
    )


def _validate(scope: Construct, endpoint: IServedModel) -> s3.IBucket:
    captures = endpoint.capture_bucket
    raise_if_any(
        scope,
        "InvalidSageMakerModelMonitor",
        [
            None if captures is not None else "endpoint must have data capture",
            None
            if endpoint.metric_invocations().namespace == "AWS/SageMaker"
            else f"endpoint must be a SageMaker endpoint, {endpoint.endpoint_name!r} is not; use another engine",
            None
            if is_known(endpoint.endpoint_name)
            else "endpoint must have a name that is known at synthesis, as schedules are named after it",
        ],
    )
    assert captures is not None  # noqa: S101 - checked above, for the type checker
    return captures


def _define_monitor(
    scope: Construct,
    monitor: MonitorName,
    *,
    business_unit: IBusinessUnit,
    endpoint: IServedModel,
    captures: s3.IBucket,
    settings: SageMakerModelMonitor,
) -> None:
    (kind, role_id, schedule_id, word, image), name = _KINDS[monitor], endpoint.endpoint_name
    prefix = f"s3://{business_unit.artifacts.bucket_name}/{model_monitor_prefix(name)}"
    baseline = settings.baselines.get(monitor, _default_baseline(prefix, monitor))
    role = define_monitor_role(
        scope,
        role_id,
        business_unit=business_unit,
        monitor=monitor,
        endpoint_name=name,
        captures=captures,
        image=image,
        files=_files(monitor, baseline, settings),
    )
    group = define_job_group(scope, business_unit=business_unit, endpoint_name=name, count=settings.instance_count)
    given = {"endpointInput": _input(monitor, name, settings)}
    if monitor in WITH_LABELS:
        given["groundTruthS3Input"] = {"s3Uri": f"s3://{captures.bucket_name}/labels/{name}"}
    # arguments of four classes, and so untyped; nested keys are spelled as in jsii
    properties: dict[str, Any] = {
        "role_arn": role.role_arn,
        f"{word}_app_specification": _app(scope, monitor, image, settings),
        f"{word}_baseline_config": _baseline(monitor, baseline),
        f"{word}_job_input": given,
        f"{word}_job_output_config": {
            "kmsKeyId": business_unit.key.key_arn,
            "monitoringOutputs": [
                {
                    "s3Output": {
                        "s3Uri": f"{prefix}/{monitor}",
                        "localPath": _OUTPUT,
                        "s3UploadMode": "EndOfJob",
                    }
                }
            ],
        },
        "job_resources": {
            "clusterConfig": {
                "instanceCount": settings.instance_count,
                "instanceType": settings.instance_type,
                "volumeSizeInGb": int(settings.volume.to_gibibytes(rounding=cdk.SizeRoundingBehavior.FLOOR)),
                **({"volumeKmsKeyId": business_unit.key.key_arn} if takes_volume_key(settings.instance_type) else {}),
            }
        },
        "network_config": {
            "enableInterContainerTrafficEncryption": True,
            # Clarify calls a copy of the model
            "enableNetworkIsolation": monitor != "explainability",
            "vpcConfig": {
                "subnets": business_unit.subnet_ids,
                "securityGroupIds": [group.security_group_id],
            },
        },
        "stopping_condition": {"maxRuntimeInSeconds": int(settings.max_runtime.to_seconds(integral=False))},
    }
    names = _ContentName(schedule_name(name, monitor), properties)
    define: Callable[..., cdk.CfnResource] = getattr(sagemaker, f"Cfn{kind}JobDefinition")
    definition = define(scope, kind, **properties, job_definition_name=cdk.Lazy.uncached_string(names))
    names.definition = definition
    # the definition can only be created, and its schedule only be deleted, while the endpoint exists
    if isinstance(endpoint, Construct):
        definition.node.add_dependency(endpoint)
    # SageMaker checks baseline and label prefixes with the role
    definition.node.add_dependency(role)
    schedule = sagemaker.CfnMonitoringSchedule(
        scope,
        schedule_id,
        monitoring_schedule_name=schedule_name(name, monitor),
        monitoring_schedule_config={
            "monitoringJobDefinitionName": cdk.Lazy.uncached_string(names),
            "monitoringType": kind,
            "scheduleConfig": {"scheduleExpression": settings.schedule},
        },
    )
    schedule.add_resource_dependency(definition)


def _default_baseline(prefix: str, monitor: MonitorName) -> MonitorBaseline:
    folder = f"{prefix}/baselines/{monitor}"
    return MonitorBaseline(
        constraints=f"{folder}/constraints.json",
        statistics=f"{folder}/statistics.json" if monitor == "data_quality" else None,
    )


def _files(monitor: MonitorName, baseline: MonitorBaseline, settings: SageMakerModelMonitor) -> list[str]:
    scripts = () if monitor in WITH_CONFIG else (settings.record_preprocessor, settings.post_analytics_processor)
    given = (baseline.constraints, baseline.statistics, settings.analysis_configs.get(monitor), *scripts)
    return [uri for uri in given if uri is not None]


def _app(scope: Construct, monitor: MonitorName, image: Image, settings: SageMakerModelMonitor) -> dict[str, Any]:
    found: dict[str, Any] = {
        "imageUri": image_uri(scope, image),
        "environment": {"publish_cloudwatch_metrics": "Enabled" if settings.publish_metrics else "Disabled"},
    }
    if monitor in WITH_CONFIG:
        return {**found, "configUri": settings.analysis_configs[monitor]}
    if monitor == "model_quality":
        found["problemType"] = settings.problem_type
    scripts = {
        "recordPreprocessorSourceUri": settings.record_preprocessor,
        "postAnalyticsProcessorSourceUri": settings.post_analytics_processor,
    }
    return found | {name: uri for name, uri in scripts.items() if uri is not None}


def _baseline(monitor: MonitorName, baseline: MonitorBaseline) -> dict[str, Any]:
    found: dict[str, Any] = {"constraintsResource": {"s3Uri": baseline.constraints}}
    if monitor == "data_quality" and baseline.statistics is not None:
        found["statisticsResource"] = {"s3Uri": baseline.statistics}
    return found


def _input(monitor: MonitorName, name: str, settings: SageMakerModelMonitor) -> dict[str, Any]:
    found: dict[str, Any] = {"endpointName": name, "localPath": _INPUT}
    if monitor == "data_quality":
        return found
    found["inferenceAttribute"] = settings.inference_attribute
    if settings.probability_attribute is not None:
        found["probabilityAttribute"] = settings.probability_attribute
    if monitor in WITH_LABELS:
        found["startTimeOffset"], found["endTimeOffset"] = settings.offsets()
        if settings.probability_threshold is not None:
            found["probabilityThresholdAttribute"] = settings.probability_threshold
    return found


@jsii.implements(cdk.IStringProducer)
class _ContentName:
    """Name of a job definition: the schedule's name and a hash of all properties and tags, which are complete at synthesis."""

    def __init__(self, name: str, properties: Mapping[str, Any]) -> None:
        self._name, self._properties = name, properties
        self.definition: cdk.CfnResource | None = None

    def produce(self, context: cdk.IResolveContext) -> str:
        definition = self.definition
        if definition is None:
            raise RuntimeError("the definition's name was resolved before the definition was created")
        tags: cdk.TagManager = definition.tags  # type: ignore[attr-defined] # each of the four types has them
        # CloudFormation adds the stack's tags, and a changed tag replaces the definition too
        of_stack = stack_of(definition).tags.tag_values()
        content = context.resolve({**self._properties, "tags": tags.render_tags(), "stack": of_stack})
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_DIGEST]
        return f"{self._name[: 63 - 1 - _DIGEST].rstrip('-')}-{digest}"
