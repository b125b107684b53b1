"""Requests to SageMaker and Application Auto Scaling for an endpoint's capacity, from its serving spec. Pure."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict, cast

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import AsynchronousSpec, ScalingSpec, ServerlessSpec
from mlops_runtime.rollout.capacity_limits import (
    asynchronous_problems,
    instance_problems,
    scaling_problems,
    serverless_problems,
    variant_problems,
)

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import PutMetricAlarmInputTypeDef
    from mypy_boto3_sagemaker.literals import ProductionVariantInstanceTypeType
    from mypy_boto3_sagemaker.type_defs import (
        AsyncInferenceConfigTypeDef,
        AsyncInferenceNotificationConfigTypeDef,
        AsyncInferenceOutputConfigTypeDef,
        ProductionVariantServerlessConfigTypeDef,
        ProductionVariantTypeDef,
    )

Request = dict[str, object]

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
# https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
_METRIC_NAMESPACE = "AWS/SageMaker"
_BACKLOG = "ApproximateBacklogSizePerInstance"
_WAITING = "HasBacklogWithoutCapacity"


class Waking(TypedDict):
    """A step policy that starts the first instance, and the arguments of PutMetricAlarm of the alarm that triggers it."""

    policy: Request
    alarm: "PutMetricAlarmInputTypeDef"


class Scaling(TypedDict):
    """Requests to Application Auto Scaling, and for the alarms of step policies."""

    deregister: list[Request]
    alarm_names: list[str]
    targets: list[Request]
    policies: list[Request]
    schedules: list[Request]
    wake: list[Waking]


def capacity_problems(spec: ServingSpec) -> list[str]:
    """Return why SageMaker would reject the capacity of a spec, or would not apply it as stated."""
    if spec.serverless is not None:
        return list(serverless_problems(spec))
    problems = [*instance_problems(spec), *variant_problems(spec), *scaling_problems(spec)]
    return problems if spec.asynchronous is None else [*problems, *asynchronous_problems(spec)]


def conversion_problem(spec: ServingSpec, *, is_live_serverless: bool) -> str | None:
    """Return why an endpoint cannot change between serverless and instances; None if the spec changes nothing of that.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    """
    if (spec.serverless is not None) is is_live_serverless:
        return None
    fix = "define an endpoint with another name, and move callers"
    if is_live_serverless:
        return (
            f"a serverless endpoint that gets instances cannot return to serverless, so no rollout can roll back; {fix}"
        )
    return f"SageMaker cannot convert an endpoint on instances to serverless; {fix}"


def render_variants(spec: ServingSpec, *, model: str) -> "list[ProductionVariantTypeDef]":
    """Return ``ProductionVariants``: the main variant gets the calls that the further ones leave.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
    """
    further = spec.variants or ()
    weight = round(1.0 - sum(variant.weight for variant in further), 6)
    if spec.serverless is None:
        main = render_variant(
            spec.variant, model=model, instance_type=spec.instance_type, count=spec.instance_count, weight=weight
        )
    else:
        main = {"VariantName": spec.variant, "ModelName": model, "InitialVariantWeight": weight}
        main["ServerlessConfig"] = _serverless(spec.serverless)
    return [
        main,
        *(
            render_variant(
                variant.name,
                model=model,
                instance_type=variant.instance_type,
                count=variant.instance_count,
                weight=variant.weight,
            )
            for variant in further
        ),
    ]


def render_variant(
    name: str, *, model: str, instance_type: str | None, count: int | None, weight: float
) -> "ProductionVariantTypeDef":
    """Return a ``ProductionVariant`` on instances.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
    """
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": cast("ProductionVariantInstanceTypeType", instance_type),
        "InitialInstanceCount": cast(int, count),
        "InitialVariantWeight": weight,
    }


def _serverless(serverless: ServerlessSpec) -> "ProductionVariantServerlessConfigTypeDef":
    config: ProductionVariantServerlessConfigTypeDef = {
        "MemorySizeInMB": serverless.memory_mb,
        "MaxConcurrency": serverless.max_concurrency,
    }
    if serverless.provisioned_concurrency is not None:
        config["ProvisionedConcurrency"] = serverless.provisioned_concurrency
    return config


def error_metric(spec: ServingSpec) -> str:
    """Return the metric that counts a fleet's failures.

    ``InvocationModelErrors`` counts every response that is not 2xx, and broken connections, but only real-time endpoints publish
    it. Of the documented metrics of the other kinds, only ``Invocation5XXErrors`` counts failures of the model.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html and
    https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-monitoring.html
    """
    is_real_time = spec.asynchronous is None and spec.serverless is None
    return "InvocationModelErrors" if is_real_time else "Invocation5XXErrors"


def render_scaling(spec: ServingSpec, *, live_variants: Sequence[str] = ()) -> Scaling:
    """Return the requests that set up the scaling of a spec, as lists that may be empty.

    ``targets`` are RegisterScalableTarget, ``policies`` PutScalingPolicy and ``schedules`` PutScheduledAction. ``wake`` contains a
    step policy (``policy``) and the alarm that triggers it (``alarm``, to which the policy's ARN is added) for each variant that
    may scale to zero: its backlog starts an instance. ``deregister`` (DeregisterScalableTarget) and ``alarm_names`` remove all of
    that, existing or not. The bounds apply to each variant, which scales by itself.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling.html

    Args:
        spec: The desired spec.
        live_variants: Names of the live variants, which the spec may no longer have. Default: none.
    """
    own = () if spec.serverless is not None else (spec.variant, *(variant.name for variant in spec.variants or ()))
    known = list(dict.fromkeys([*own, *live_variants]))
    requests: Scaling = {
        "deregister": [_target(spec, variant) for variant in known],
        "alarm_names": [_wake_name(spec, variant) for variant in known],
        "targets": [],
        "policies": [],
        "schedules": [],
        "wake": [],
    }
    scaling = spec.scaling
    if scaling is None:
        return requests
    for variant in own:
        target = _target(spec, variant)
        requests["targets"].append({**target, "MinCapacity": scaling.minimum, "MaxCapacity": scaling.maximum})
        if scaling.target is not None:
            requests["policies"].append(_tracking(spec, scaling, variant))
        if spec.asynchronous is not None and 0 in _minima(scaling):
            requests["wake"].append(_wake(spec, scaling, variant))
        requests["schedules"] += _schedules(scaling, target)
    return requests


def no_scaling() -> Scaling:
    """Return a plan's ``scaling`` without changes, for a rollout under the current spec."""
    return {"deregister": [], "alarm_names": [], "targets": [], "policies": [], "schedules": [], "wake": []}


def _target(spec: ServingSpec, variant: str) -> Request:
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": f"endpoint/{spec.endpoint}/variant/{variant}",
        "ScalableDimension": DIMENSION,
    }


def _tracking(spec: ServingSpec, scaling: ScalingSpec, variant: str) -> Request:
    # https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-code-define.html
    policy: Request = {
        "TargetValue": scaling.target,
        "ScaleInCooldown": scaling.scale_in_cool_down,
        "ScaleOutCooldown": scaling.scale_out_cool_down,
    }
    if scaling.metric == "BACKLOG_PER_INSTANCE":
        policy["CustomizedMetricSpecification"] = {
            "Namespace": _METRIC_NAMESPACE,
            "MetricName": _BACKLOG,
            "Dimensions": [{"Name": "EndpointName", "Value": spec.endpoint}],
            "Statistic": "Average",
        }
    else:
        policy["PredefinedMetricSpecification"] = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    return {
        **_target(spec, variant),
        "PolicyName": f"{spec.endpoint}-{variant}-target",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": policy,
    }


def _wake(spec: ServingSpec, scaling: ScalingSpec, variant: str) -> Waking:
    """Starts the first instance: target tracking alone would wait until the backlog exceeds the target."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html#async-inference-autoscale-scale-up
    policy: Request = {
        **_target(spec, variant),
        "PolicyName": f"{spec.endpoint}-{variant}-wake",
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": scaling.scale_out_cool_down,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    }
    alarm: PutMetricAlarmInputTypeDef = {
        "AlarmName": _wake_name(spec, variant),
        "AlarmDescription": f"{spec.endpoint} has requests and no instance: Application Auto Scaling starts one",
        "Namespace": _METRIC_NAMESPACE,
        "MetricName": _WAITING,
        "Dimensions": [{"Name": "EndpointName", "Value": spec.endpoint}],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "Tags": [{"Key": key, "Value": value} for key, value in sorted(spec.tags.items())],
    }
    return {"policy": policy, "alarm": alarm}


def _wake_name(spec: ServingSpec, variant: str) -> str:
    return f"{spec.endpoint}-scaling-{variant}-wake"


def _schedules(scaling: ScalingSpec, target: Request) -> Iterator[Request]:
    for schedule in scaling.schedules:
        yield {
            **target,
            "ScheduledActionName": schedule.name,
            "Schedule": schedule.schedule,
            "Timezone": schedule.timezone,
            "ScalableTargetAction": {"MinCapacity": schedule.minimum, "MaxCapacity": schedule.maximum},
        }


def _minima(scaling: ScalingSpec) -> set[int]:
    return {scaling.minimum, *(schedule.minimum for schedule in scaling.schedules)}


def render_asynchronous(asynchronous: AsynchronousSpec) -> "AsyncInferenceConfigTypeDef":
    """Return ``AsyncInferenceConfig``.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AsyncInferenceConfig.html
    """
    output: AsyncInferenceOutputConfigTypeDef = {
        "S3OutputPath": asynchronous.output,
        "S3FailurePath": asynchronous.failures,
    }
    if asynchronous.kms_key is not None:
        output["KmsKeyId"] = asynchronous.kms_key
    topics: AsyncInferenceNotificationConfigTypeDef = {}
    if asynchronous.success_topic is not None:
        topics["SuccessTopic"] = asynchronous.success_topic
    if asynchronous.error_topic is not None:
        topics["ErrorTopic"] = asynchronous.error_topic
    if topics:
        output["NotificationConfig"] = topics
    config: AsyncInferenceConfigTypeDef = {"OutputConfig": output}
    if asynchronous.max_concurrency is not None:
        config["ClientConfig"] = {"MaxConcurrentInvocationsPerInstance": asynchronous.max_concurrency}
    return config
