"""SageMaker and Application Auto Scaling requests of a rollout, rendered from the serving spec. Pure functions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import CaptureSpec, ShadowSpec
from mlops_runtime.rollout.deploy_plan import Facts, live_pointer
from mlops_runtime.rollout.execution_names import rehearsal_name, version_tags
from mlops_runtime.rollout.fleet_capacity import (
    Scaling,
    no_scaling,
    render_asynchronous,
    render_scaling,
    render_variant,
    render_variants,
)
from mlops_runtime.rollout.live_fleet import Variant, Version, read_variant

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import VariantPropertyTypeType
    from mypy_boto3_sagemaker.type_defs import (
        CapacitySizeTypeDef,
        ContainerDefinitionTypeDef,
        CreateEndpointConfigInputTypeDef,
        CreateEndpointInputTypeDef,
        CreateModelInputTypeDef,
        DataCaptureConfigTypeDef,
        DeploymentConfigTypeDef,
        TrafficRoutingConfigTypeDef,
        UpdateEndpointInputTypeDef,
    )

SHADOW_VARIANT = "Shadow"


class Rehearsal(TypedDict):
    """Arguments of the calls that create a rehearsal."""

    config: "CreateEndpointConfigInputTypeDef"
    endpoint: "CreateEndpointInputTypeDef"


class Shadow(TypedDict):
    """Arguments of the calls that add a shadow."""

    config: "CreateEndpointConfigInputTypeDef"
    update: "UpdateEndpointInputTypeDef"


def render_model(spec: ServingSpec, *, package: str, name: str, execution: str) -> "CreateModelInputTypeDef":
    """Return the arguments of CreateModel: image, artefact and environment come from the approved package.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy.html
    """
    container: ContainerDefinitionTypeDef = {"ModelPackageName": package}
    if spec.online_table is not None:
        container["Environment"] = {"MLOPS_ONLINE_TABLE": spec.online_table}
    request: CreateModelInputTypeDef = {
        "ModelName": name,
        "Containers": [container],
        "ExecutionRoleArn": spec.execution_role,
        "EnableNetworkIsolation": spec.network_isolation,
        "Tags": version_tags(spec, execution),
    }
    if spec.subnets:
        request["VpcConfig"] = {"Subnets": list(spec.subnets), "SecurityGroupIds": list(spec.security_groups)}
    return request


def render_endpoint_config(spec: ServingSpec, *, name: str, execution: str) -> "CreateEndpointConfigInputTypeDef":
    """Return the arguments of CreateEndpointConfig; the model has the same name."""
    request: CreateEndpointConfigInputTypeDef = {
        "EndpointConfigName": name,
        "ProductionVariants": render_variants(spec, model=name),
        "Tags": version_tags(spec, execution),
    }
    if spec.asynchronous is not None:
        request["AsyncInferenceConfig"] = render_asynchronous(spec.asynchronous)
    if spec.kms_key is not None:
        request["KmsKeyId"] = spec.kms_key
    if spec.capture is not None:
        request["DataCaptureConfig"] = _capture(spec.capture)
    return request


def render_endpoint(spec: ServingSpec, *, config: str, execution: str) -> "CreateEndpointInputTypeDef":
    """Return the arguments of CreateEndpoint."""
    return {"EndpointName": spec.endpoint, "EndpointConfigName": config, "Tags": version_tags(spec, execution)}


def render_rehearsal(spec: ServingSpec, *, model: str, execution: str) -> Rehearsal:
    """Return the arguments of CreateEndpointConfig (``config``) and CreateEndpoint (``endpoint``) of a rehearsal.

    A rehearsal is one instance of the main variant with the candidate; endpoint and config have the same name. It has no data
    capture, since golden requests are not traffic, and is a real-time endpoint even if the endpoint is asynchronous.
    """
    name, tags = rehearsal_name(spec.endpoint, execution), version_tags(spec, execution)
    variant = render_variants(spec, model=model)[0]
    variant["InitialVariantWeight"] = 1.0
    if spec.serverless is None:
        variant["InitialInstanceCount"] = 1
    config: CreateEndpointConfigInputTypeDef = {
        "EndpointConfigName": name,
        "ProductionVariants": [variant],
        "Tags": tags,
    }
    if spec.kms_key is not None:
        config["KmsKeyId"] = spec.kms_key
    return {"config": config, "endpoint": {"EndpointName": name, "EndpointConfigName": name, "Tags": tags}}


def render_shadow(
    spec: ServingSpec, shadow: ShadowSpec, *, model: str, name: str, live: Version, execution: str
) -> Shadow:
    """Return the arguments of CreateEndpointConfig (``config``) and UpdateEndpoint (``update``) that add a shadow.

    The production variant is unchanged; the shadow's weight is the share of its calls that is copied. The update is all at once,
    since callers see no difference.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html
    """
    main = live.variants[0]
    config: CreateEndpointConfigInputTypeDef = {
        "EndpointConfigName": name,
        "ProductionVariants": [
            render_variant(
                main.name, model=live.model, instance_type=main.instance_type, count=main.instance_count, weight=1.0
            )
        ],
        "ShadowProductionVariants": [
            render_variant(
                SHADOW_VARIANT,
                model=model,
                instance_type=spec.instance_type,
                count=shadow.instance_count,
                weight=shadow.percent / 100,
            )
        ],
        "Tags": version_tags(spec, execution),
    }
    if spec.kms_key is not None:
        config["KmsKeyId"] = spec.kms_key
    if spec.capture is not None:
        # with sampling, only the square of the share would be pairs
        percent = spec.capture.percent if shadow.tolerance is None else 100
        config["DataCaptureConfig"] = _capture(replace(spec.capture, percent=percent))
    return {"config": config, "update": render_revert(spec, config=name, live=live.variants)}


def render_update(
    spec: ServingSpec, *, config: str, live: Sequence[Variant], alarms: Sequence[str], bake: int | None = None
) -> "UpdateEndpointInputTypeDef":
    """Return the arguments of UpdateEndpoint.

    The instance count of autoscaling is retained: without ``RetainAllVariantProperties`` each update would reset it to the config's
    count. Retained properties are *not* taken from the new config, so data capture is always excluded, and counts and weights are
    excluded if the spec changed them since the live config was created. An instance type is never retained.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html

    Args:
        spec: The desired spec.
        config: Name of the endpoint config to move to.
        live: Variants of the live config.
        alarms: Names of the new fleet's alarms; the spec's are added. Ignored for a serverless endpoint, for which deployment
            guardrails are not supported.
        bake: Bake of each step, in seconds. Default: the policy's.
    """
    if spec.serverless is not None:
        return {"EndpointName": spec.endpoint, "EndpointConfigName": config}
    deployment = _policy(spec.rollout, spec.rollout.bake if bake is None else bake)
    watched = (*alarms, *spec.rollout.alarms)
    deployment["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in watched]}
    return _update(spec.endpoint, config, deployment, _not_retained(spec, live))


def render_revert(spec: ServingSpec, *, config: str, live: Sequence[Variant]) -> "UpdateEndpointInputTypeDef":
    """Return the arguments of UpdateEndpoint that return to the previous config, at once and without alarms."""
    if spec.serverless is not None:
        return {"EndpointName": spec.endpoint, "EndpointConfigName": config}
    deployment: DeploymentConfigTypeDef = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "MaximumExecutionTimeoutInSeconds": spec.rollout.maximum,
        }
    }
    return _update(spec.endpoint, config, deployment, _not_retained(spec, live))


def _capture(capture: CaptureSpec) -> "DataCaptureConfigTypeDef":
    request: DataCaptureConfigTypeDef = {
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


def _update(
    endpoint: str, config: str, deployment: "DeploymentConfigTypeDef", excluded: "Sequence[VariantPropertyTypeType]"
) -> "UpdateEndpointInputTypeDef":
    return {
        "EndpointName": endpoint,
        "EndpointConfigName": config,
        "RetainAllVariantProperties": True,
        "ExcludeRetainedVariantProperties": [{"VariantPropertyType": kind} for kind in excluded],
        "DeploymentConfig": deployment,
    }


def _not_retained(spec: ServingSpec, live: Sequence[Variant]) -> "tuple[VariantPropertyTypeType, ...]":
    wanted = [read_variant(variant) for variant in render_variants(spec, model="")]
    sizes = [{v.name: (v.instance_type, v.instance_count) for v in variants} for variants in (wanted, live)]
    weights = [{v.name: v.weight for v in variants} for variants in (wanted, live)]
    return (
        "DataCaptureConfig",
        *(() if sizes[0] == sizes[1] else ("DesiredInstanceCount",)),
        *(() if weights[0] == weights[1] else ("DesiredWeight",)),
    )


def _policy(rollout: RolloutSpec, bake: int) -> "DeploymentConfigTypeDef":
    """Render one policy; ``bake`` is the time in which both fleets are compared after each step.

    After the last step the fleets are not compared, and all calls give the same evidence in less time, so the policy's own bake is
    enough.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
    and https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-rolling.html
    """
    size: CapacitySizeTypeDef = {
        "Type": "CAPACITY_PERCENT",
        "Value": 100 if rollout.percent is None else rollout.percent,
    }
    if rollout.kind == "ROLLING":
        return {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": size,
                "WaitIntervalInSeconds": bake,
                "MaximumExecutionTimeoutInSeconds": rollout.maximum,
            }
        }
    # all at once there are no steps to wait between: the bake is the wait before the old fleet is terminated
    between = 0 if rollout.kind == "ALL_AT_ONCE" else bake
    routing: TrafficRoutingConfigTypeDef = {"Type": rollout.kind, "WaitIntervalInSeconds": between}
    if rollout.kind == "CANARY":
        routing["CanarySize"] = size
    elif rollout.kind == "LINEAR":
        routing["LinearStepSize"] = size
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            # the wait interval is between steps; the bake after the last one is the wait before the old fleet is terminated
            "TerminationWaitInSeconds": bake if rollout.kind == "ALL_AT_ONCE" else rollout.bake,
            "MaximumExecutionTimeoutInSeconds": rollout.maximum,
        }
    }


def planned_scaling(spec: ServingSpec, facts: Facts) -> Scaling:
    """Return the requests that change the endpoint's scaling to the spec's; empty lists if it is already set up.

    A change deregisters all variants first: SageMaker rejects a new instance type for a registered variant, and the deregistration
    removes policies and schedules that are no longer in the spec.
    """
    live, before = live_pointer(facts.row), facts.live_spec
    if facts.serving is None:
        return render_scaling(spec) | {"deregister": [], "alarm_names": []}
    is_known = live is not None and live.config == facts.serving.config and before is not None
    if is_known and before is not None and _scales(before) == _scales(spec):
        return no_scaling()
    if is_known and before is not None and before.scaling is None:
        return render_scaling(spec) | {"deregister": [], "alarm_names": []}
    names = () if facts.serving.version is None else facts.serving.version.variant_names
    return render_scaling(spec, live_variants=names)


def _scales(spec: ServingSpec) -> object:
    if spec.scaling is None:
        return None
    variants = [(v.name, v.instance_type) for v in spec.variants or ()]
    return spec.scaling, [(spec.variant, spec.instance_type), *variants]
