"""Pure functions from a serving spec to the requests of a rollout. What they return is sent as it is."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import CaptureSpec
from mlops_runtime.rollout.capacity import render_config_extras, render_variants

Request = dict[str, Any]

ENDPOINT_TAG = "mlops:endpoint"
EXECUTION_TAG = "mlops:execution"


def version_name(endpoint: str, execution: str) -> str:
    """Return the one name of the model and the endpoint config that an execution makes.

    Example:
        >>> version_name("demand-forecast", "arn:aws:states:us-east-1:123456789012:execution:Deploy:one")
        'demand-forecast-4588cf62'
    """
    return f"{endpoint}-{hashlib.sha256(execution.encode()).hexdigest()[:8]}"


def alarm_prefix(endpoint: str) -> str:
    """Return what the names of all new-fleet alarms of an endpoint begin with."""
    return f"{endpoint}-rollout-"


def alarm_names(spec: ServingSpec, config: str) -> tuple[str, ...]:
    """Return the names of the new fleet's alarms."""
    stem = alarm_prefix(spec.endpoint) + config.rpartition("-")[2]
    kinds = ("errors",) if spec.rollout.max_latency_ms is None else ("errors", "latency")
    return tuple(f"{stem}-{kind}" for kind in kinds)


def version_tags(spec: ServingSpec, execution: str) -> list[dict[str, str]]:
    """Return the tags of everything that an execution makes: the spec's (unit, owner, cost centre), endpoint and execution."""
    tags = {**spec.tags, ENDPOINT_TAG: spec.endpoint, EXECUTION_TAG: execution}
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def render_model(spec: ServingSpec, *, package: str, name: str, execution: str) -> Request:
    """Return the arguments of CreateModel: image, artefact and environment come from the approved package.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy.html
    """
    request: Request = {
        "ModelName": name,
        "Containers": [{"ModelPackageName": package}],
        "ExecutionRoleArn": spec.execution_role,
        "EnableNetworkIsolation": spec.network_isolation,
        "Tags": version_tags(spec, execution),
    }
    if spec.subnets:
        request["VpcConfig"] = {"Subnets": list(spec.subnets), "SecurityGroupIds": list(spec.security_groups)}
    return request


def render_endpoint_config(spec: ServingSpec, *, name: str, execution: str) -> Request:
    """Return the arguments of CreateEndpointConfig; the model has the same name."""
    request: Request = {
        "EndpointConfigName": name,
        "ProductionVariants": render_variants(spec, model=name),
        "Tags": version_tags(spec, execution),
        **render_config_extras(spec),
    }
    if spec.kms_key is not None:
        request["KmsKeyId"] = spec.kms_key
    if spec.capture is not None:
        request["DataCaptureConfig"] = _capture(spec.capture)
    return request


def render_endpoint(spec: ServingSpec, *, config: str, execution: str) -> Request:
    """Return the arguments of CreateEndpoint."""
    return {
        "EndpointName": spec.endpoint,
        "EndpointConfigName": config,
        "Tags": version_tags(spec, execution),
    }


def render_update(spec: ServingSpec, *, config: str, live_count: int, live_type: str) -> Request:
    """Return the arguments of UpdateEndpoint.

    What autoscaling has made of the fleet is kept: without ``RetainAllVariantProperties`` each update would reset it to the
    config's count. What is kept is then *not* taken from the new config, so data capture is always excluded, and the count where
    the spec changed count or type since the live config was made. An instance type is never kept.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html

    Args:
        spec: The desired spec.
        config: Name of the endpoint config to move to.
        live_count: ``InitialInstanceCount`` of the config that serves.
        live_type: Its instance type.
    """
    watched = (*alarm_names(spec, config), *spec.rollout.alarms)
    deployment = _policy(spec.rollout)
    deployment["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in watched]}
    return _update(spec.endpoint, config, deployment, _not_retained(spec, live_count, live_type))


def render_revert(spec: ServingSpec, *, config: str, live_count: int, live_type: str) -> Request:
    """Return the arguments of UpdateEndpoint that go back to the config that served before, at once and without alarms."""
    deployment = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "MaximumExecutionTimeoutInSeconds": spec.rollout.maximum,
        }
    }
    return _update(spec.endpoint, config, deployment, _not_retained(spec, live_count, live_type))


def render_alarms(spec: ServingSpec, *, config: str, execution: str) -> list[Request]:
    """Return the arguments of PutMetricAlarm for the new fleet alone, which only exist at run time.

    SageMaker publishes a fleet's metrics also under ``EndpointConfigName`` while a deployment runs. No data is not a breach: a new
    fleet has none yet; that it was asked at all is what ``min_invocations`` checks. ``InvocationModelErrors`` counts every answer
    that is not 2xx, and connections that broke: a candidate that refuses what the live model takes is a bad one too.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    and https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
    """
    names = alarm_names(spec, config)
    rollout, fleet = spec.rollout, _fleet(spec, config)
    common: Request = {
        "EvaluationPeriods": 1,
        "DatapointsToAlarm": 1,
        "TreatMissingData": "notBreaching",
        "ComparisonOperator": "GreaterThanThreshold",
        "ActionsEnabled": False,
        "Tags": version_tags(spec, execution),
    }

    errors: Request = {
        "AlarmName": names[0],
        "AlarmDescription": (
            f"more than {rollout.max_error_count} errors in {rollout.alarm_period} s on the new fleet {config}: "
            "SageMaker rolls the deployment back"
        ),
        "Namespace": "AWS/SageMaker",
        "MetricName": "InvocationModelErrors",
        "Dimensions": fleet,
        "Period": rollout.alarm_period,
        "Statistic": "Sum",
        "Threshold": float(rollout.max_error_count),
        **common,
    }
    if rollout.max_latency_ms is None:
        return [errors]
    latency: Request = {
        "AlarmName": names[1],
        "AlarmDescription": (
            f"95th percentile of model latency above {rollout.max_latency_ms} ms on the new fleet {config}: "
            "SageMaker rolls the deployment back"
        ),
        "Namespace": "AWS/SageMaker",
        "MetricName": "ModelLatency",
        "Dimensions": fleet,
        "Period": rollout.alarm_period,
        "ExtendedStatistic": "p95",
        "Threshold": rollout.max_latency_ms * 1000.0,  # ModelLatency is in microseconds
        **common,
    }
    return [errors, latency]


def _fleet(spec: ServingSpec, config: str) -> list[dict[str, str]]:
    values = {"EndpointName": spec.endpoint, "VariantName": spec.variant, "EndpointConfigName": config}
    return [{"Name": name, "Value": value} for name, value in values.items()]


def _capture(capture: CaptureSpec) -> Request:
    request: Request = {
        "EnableCapture": True,
        "InitialSamplingPercentage": capture.percent,
        "DestinationS3Uri": capture.destination,
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        # without these SageMaker writes payloads in base64
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
    }
    if capture.kms_key is not None:
        request["KmsKeyId"] = capture.kms_key
    return request


def _update(endpoint: str, config: str, deployment: Mapping[str, Any], excluded: Sequence[str]) -> Request:
    return {
        "EndpointName": endpoint,
        "EndpointConfigName": config,
        "RetainAllVariantProperties": True,
        "ExcludeRetainedVariantProperties": [{"VariantPropertyType": kind} for kind in excluded],
        "DeploymentConfig": deployment,
    }


def _not_retained(spec: ServingSpec, live_count: int, live_type: str) -> tuple[str, ...]:
    resized = (spec.instance_count, spec.instance_type) != (live_count, live_type)
    return ("DataCaptureConfig", "DesiredInstanceCount") if resized else ("DataCaptureConfig",)


def _policy(rollout: RolloutSpec) -> Request:
    """Render one policy; ``bake`` is how long alarms are watched after each step.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
    and https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-rolling.html
    """
    size = {"Type": "CAPACITY_PERCENT", "Value": rollout.percent}
    if rollout.kind == "ROLLING":
        rolling = {"MaximumBatchSize": size, "WaitIntervalInSeconds": rollout.bake}
        return {"RollingUpdatePolicy": {**rolling, "MaximumExecutionTimeoutInSeconds": rollout.maximum}}
    routing: Request = {"Type": rollout.kind, "WaitIntervalInSeconds": rollout.bake}
    if rollout.kind == "CANARY":
        routing["CanarySize"] = size
    elif rollout.kind == "LINEAR":
        routing["LinearStepSize"] = size
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            # the wait interval lies between steps; the bake after the last one is the wait before the old fleet ends
            "TerminationWaitInSeconds": rollout.bake,
            "MaximumExecutionTimeoutInSeconds": rollout.maximum,
        }
    }
