"""SageMaker Model Monitor's job definitions and schedules for one endpoint.

A definition cannot be changed. Its name holds a hash of its content, so that a change makes a new one; CloudFormation then points
the schedule at it, and deletes the old one last. Schedules go before the endpoint does.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from mlops_constructs._sagemaker import sagemaker_arn
from mlops_constructs._validation import is_known, raise_if_any
from mlops_constructs._warnings import CLOSED_MODEL_MONITOR, warn
from mlops_constructs.model_endpoint import IServedModel
from mlops_constructs.model_monitor._job_group import define_job_group
from mlops_constructs.model_monitor._sagemaker_images import Image, image_uri
from mlops_constructs.model_monitor._sagemaker_role import define_monitor_role
from mlops_constructs.model_monitor._sagemaker_settings import (
    WITH_CONFIG,
    WITH_LABELS,
    MonitorBaseline,
    SageMakerModelMonitor,
)
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.monitor.model_monitor.execution_store import model_monitor_prefix
from mlops_runtime.monitor.model_monitor.executions import MonitorName, schedule_name

_INPUT = "/opt/ml/processing/input_data"
_OUTPUT = "/opt/ml/processing/output"
_DIGEST = 10  # hexadecimal digits of a definition's name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How CloudFormation spells one monitor: ids, type, first word of its properties."""

    role_id: str
    definition_id: str
    schedule_id: str
    monitoring_type: str
    word: str
    image: Image


_KINDS: Mapping[MonitorName, _Kind] = {
    "data_quality": _Kind(
        role_id="DataQualityRole",
        definition_id="DataQuality",
        schedule_id="DataQualitySchedule",
        monitoring_type="DataQuality",
        word="data_quality",
        image="analyzer",
    ),
    "model_quality": _Kind(
        role_id="ModelQualityRole",
        definition_id="ModelQuality",
        schedule_id="ModelQualitySchedule",
        monitoring_type="ModelQuality",
        word="model_quality",
        image="analyzer",
    ),
    "bias": _Kind(
        role_id="ModelBiasRole",
        definition_id="ModelBias",
        schedule_id="ModelBiasSchedule",
        monitoring_type="ModelBias",
        word="model_bias",
        image="clarify",
    ),
    "explainability": _Kind(
        role_id="ModelExplainabilityRole",
        definition_id="ModelExplainability",
        schedule_id="ModelExplainabilitySchedule",
        monitoring_type="ModelExplainability",
        word="model_explainability",
        image="clarify",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerMonitors:
    """The monitors that were defined, and what the deciding function needs of them.

    Args:
        environment: Variables by which the function knows them.
        statements: What it may do: read executions, look at schedules, put the live model's baselines.
    """

    environment: Mapping[str, str]
    statements: tuple[iam.PolicyStatement, ...]


def define_sagemaker_monitors(
    scope: Construct, *, business_unit: IBusinessUnit, endpoint: IServedModel, settings: SageMakerModelMonitor
) -> SageMakerMonitors:
    """Define a job definition, a schedule and a role for each monitor.

    Args:
        scope: The monitor's construct.
        business_unit: The unit.
        endpoint: The endpoint; it captures its calls.
        settings: Which monitors run, and how.

    Returns:
        What the deciding function needs.

    Raises:
        ValidationError: If it is no SageMaker endpoint, or the region has no image.
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
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[artifacts.arn_for_objects(f"{prefix}/*")]),
            iam.PolicyStatement(
                actions=["s3:PutObject"], resources=[artifacts.arn_for_objects(f"{prefix}/baselines/*")]
            ),
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[artifacts.bucket_arn],
                conditions={"StringLike": {"s3:prefix": f"{prefix}/*"}},
            ),
            iam.PolicyStatement(actions=["sagemaker:DescribeMonitoringSchedule"], resources=schedules),
        ),
    )


def _validate(scope: Construct, endpoint: IServedModel) -> s3.IBucket:
    captures = endpoint.capture_bucket
    raise_if_any(
        scope,
        "InvalidSageMakerModelMonitor",
        [
            None if captures is not None else "endpoint must capture its calls",
            None
            if endpoint.metric_invocations().namespace == "AWS/SageMaker"
            else f"endpoint must be one of SageMaker's, {endpoint.endpoint_name!r} is not; use another engine",
            None
            if is_known(endpoint.endpoint_name)
            else "endpoint must have a name that is known at synth: schedules are named after it",
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
    kind, name = _KINDS[monitor], endpoint.endpoint_name
    prefix = f"s3://{business_unit.artifacts.bucket_name}/{model_monitor_prefix(name)}"
    baseline = settings.baselines.get(monitor, _default_baseline(prefix, monitor))
    role = define_monitor_role(
        scope,
        kind.role_id,
        business_unit=business_unit,
        monitor=monitor,
        endpoint_name=name,
        captures=captures,
        image=kind.image,
        files=_files(monitor, baseline, settings),
    )
    group = define_job_group(scope, business_unit=business_unit, endpoint_name=name, count=settings.instance_count)
    given = {"endpointInput": _input(monitor, name, settings)}
    if monitor in WITH_LABELS:
        given["groundTruthS3Input"] = {"s3Uri": f"s3://{captures.bucket_name}/labels/{name}"}
    # arguments of four classes, so in maps: what is inside them has jsii's own spelling
    properties: dict[str, Any] = {
        "role_arn": role.role_arn,
        f"{kind.word}_app_specification": _app(scope, monitor, settings),
        f"{kind.word}_baseline_config": _baseline(monitor, baseline),
        f"{kind.word}_job_input": given,
        f"{kind.word}_job_output_config": {
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
                "volumeKmsKeyId": business_unit.key.key_arn,
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
    definition = _definition(scope, kind, properties, cdk.Lazy.uncached_string(names))
    names.definition = definition
    # a definition may only be made, and its schedule must be gone, while there is an endpoint
    if isinstance(endpoint, Construct):
        definition.node.add_dependency(endpoint)
    # SageMaker looks for baseline and label prefixes with the role
    definition.node.add_dependency(role)
    schedule = sagemaker.CfnMonitoringSchedule(
        scope,
        kind.schedule_id,
        monitoring_schedule_name=schedule_name(name, monitor),
        monitoring_schedule_config={
            "monitoringJobDefinitionName": cdk.Lazy.uncached_string(names),
            "monitoringType": kind.monitoring_type,
            "scheduleConfig": {"scheduleExpression": settings.schedule},
        },
    )
    schedule.add_resource_dependency(definition)


def _definition(scope: Construct, kind: _Kind, properties: dict[str, Any], name: str) -> cdk.CfnResource:
    types: Mapping[str, Callable[..., cdk.CfnResource]] = {
        "data_quality": sagemaker.CfnDataQualityJobDefinition,
        "model_quality": sagemaker.CfnModelQualityJobDefinition,
        "model_bias": sagemaker.CfnModelBiasJobDefinition,
        "model_explainability": sagemaker.CfnModelExplainabilityJobDefinition,
    }
    return types[kind.word](scope, kind.definition_id, **properties, job_definition_name=name)


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


def _app(scope: Construct, monitor: MonitorName, settings: SageMakerModelMonitor) -> dict[str, Any]:
    found: dict[str, Any] = {
        "imageUri": image_uri(scope, _KINDS[monitor].image),
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
    """A definition's name: what it watches, and a hash of all that it holds, tags too, which are known last."""

    def __init__(self, name: str, properties: Mapping[str, Any]) -> None:
        self._name, self._properties = name, properties
        self.definition: cdk.CfnResource | None = None

    def produce(self, context: cdk.IResolveContext) -> str:
        definition = self.definition
        if definition is None:
            raise RuntimeError("a definition's name is asked for before the definition is made")
        tags: cdk.TagManager = definition.tags  # type: ignore[attr-defined] # each of the four types has them
        # CloudFormation puts the stack's tags on its resources, and a changed tag replaces a definition too
        of_stack = cdk.Stack.of(definition).tags.tag_values()
        content = context.resolve({**self._properties, "tags": tags.render_tags(), "stack": of_stack})
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_DIGEST]
        return f"{self._name[: 63 - 1 - _DIGEST].rstrip('-')}-{digest}"
