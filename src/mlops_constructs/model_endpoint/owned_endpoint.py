"""An endpoint owned by the stack: model, config, endpoint and scaling as CloudFormation resources.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sagemaker-endpoint.html
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aws_cdk import CfnTag
from aws_cdk import aws_applicationautoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from mlops_constructs._validation import raise_if_any
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.model_endpoint.endpoint_role import ONLINE_TABLE
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.rollout.capacity_limits import takes_key
from mlops_runtime.rollout.fleet_capacity import (
    DIMENSION,
    NAMESPACE,
    render_asynchronous,
    render_scaling,
    render_variants,
)

_NO_KEY = (
    "serverless inference has no volumes, and local storage is encrypted by a module of the instance with a key that never leaves "
    "it; SageMaker supports no customer managed key there; rejected: other instance types, which are the unit's choice"
)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class CloudFormationEndpoint(Construct):
    """Define model, config and endpoint in the stack. Stateless.

    Model and config are named by CloudFormation, so that it can create the new ones before it deletes the old ones. An update
    retains the instance counts that scaling has set, but never the capture settings: SageMaker would ignore new ones.

    CloudFormation updates the endpoint while its variants are registered with Application Auto Scaling, and SageMaker refuses to
    change the instance type of a registered variant: to change it, deploy once without ``scaling`` first.

    Args:
        scope: Parent construct.
        id: Construct id.
        spec: Serving spec of the endpoint.
        package_arn: ARN of the model package to serve.
        role: Execution role of the model's containers.
        alarms: Alarms that roll a deployment back.
        watch: Creates the errors alarm of an endpoint config, which rolls back too. Default: none.

    Raises:
        ValidationError: If the rollout needs the Deploy machine.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        spec: ServingSpec,
        package_arn: str,
        role: iam.IRole,
        alarms: Sequence[cloudwatch.IAlarm],
        watch: Callable[[str], cloudwatch.IAlarm] | None = None,
    ) -> None:
        super().__init__(scope, id)
        raise_if_any(self, "InvalidRollout", machine_only_problems(spec.rollout))
        self._spec = spec
        self._tags = [CfnTag(key=key, value=value) for key, value in sorted(spec.tags.items())]
        model = self._define_model(package_arn, role)
        config = self._define_config(model)
        errors = [] if watch is None else [watch(config.attr_endpoint_config_name)]
        self._endpoint = self._define_endpoint(config, [*errors, *alarms])
        # the endpoint refers to alarms by name only, which does not create a dependency
        self._endpoint.node.add_dependency(*errors)
        self._define_scaling()

    @property
    def resource(self) -> sagemaker.CfnEndpoint:
        """The endpoint."""
        return self._endpoint

    def _define_model(self, package_arn: str, role: iam.IRole) -> sagemaker.CfnModel:
        spec = self._spec
        network = sagemaker.CfnModel.VpcConfigProperty(
            subnets=list(spec.subnets), security_group_ids=list(spec.security_groups)
        )
        model = sagemaker.CfnModel(
            self,
            "Model",
            containers=[
                sagemaker.CfnModel.ContainerDefinitionProperty(
                    model_package_name=package_arn,
                    environment=None if spec.online_table is None else {ONLINE_TABLE: spec.online_table},
                )
            ],
            execution_role_arn=role.role_arn,
            enable_network_isolation=spec.network_isolation,
            vpc_config=network if spec.subnets else None,
            tags=self._tags,
        )
        # the role's policy is a separate resource, without which the image cannot be pulled
        model.node.add_dependency(role)
        return model

    def _define_config(self, model: sagemaker.CfnModel) -> sagemaker.CfnEndpointConfig:
        spec, capture = self._spec, self._spec.capture
        headers = sagemaker.CfnEndpointConfig.CaptureContentTypeHeaderProperty(
            csv_content_types=["text/csv"], json_content_types=["application/json"]
        )
        config = sagemaker.CfnEndpointConfig(
            self,
            "Config",
            production_variants=[_properties(v) for v in render_variants(spec, model=model.attr_model_name)],
            kms_key_id=spec.kms_key,
            async_inference_config=None
            if spec.asynchronous is None
            else _properties(render_asynchronous(spec.asynchronous)),
            data_capture_config=None
            if capture is None
            else sagemaker.CfnEndpointConfig.DataCaptureConfigProperty(
                enable_capture=True,
                initial_sampling_percentage=capture.percent,
                destination_s3_uri=capture.destination,
                kms_key_id=capture.kms_key,
                capture_options=[{"captureMode": "Input"}, {"captureMode": "Output"}],
                # without these SageMaker writes payloads in base64
                capture_content_type_header=headers,
            ),
            tags=self._tags,
        )
        if not takes_key(spec):
            acknowledge_family(config, "SageMakerEndpointConfigurationKMSKeyConfigured", _NO_KEY)
        return config

    def _define_endpoint(
        self, config: sagemaker.CfnEndpointConfig, alarms: Sequence[cloudwatch.IAlarm]
    ) -> sagemaker.CfnEndpoint:
        spec = self._spec
        excluded = ["DataCaptureConfig", *(["DesiredWeight"] if spec.variants else [])]
        is_served_by_instances = spec.serverless is None
        return sagemaker.CfnEndpoint(
            self,
            "Resource",
            endpoint_name=spec.endpoint,
            endpoint_config_name=config.attr_endpoint_config_name,
            deployment_config=_deployment(spec.rollout, alarms) if is_served_by_instances else None,
            retain_all_variant_properties=True if is_served_by_instances else None,
            exclude_retained_variant_properties=[
                sagemaker.CfnEndpoint.VariantPropertyProperty(variant_property_type=kind) for kind in excluded
            ]
            if is_served_by_instances
            else None,
            tags=self._tags,
        )

    def _define_scaling(self) -> None:
        requests = render_scaling(self._spec)
        for target in requests["targets"]:
            resource = target["ResourceId"]
            schedules = [schedule for schedule in requests["schedules"] if schedule["ResourceId"] == resource]
            wakes = [wake for wake in requests["wake"] if wake["policy"]["ResourceId"] == resource]
            variant = Construct(self, str(resource).rpartition("/")[2])
            made = _define_target(variant, target, schedules)
            made.node.add_dependency(self._endpoint)
            for policy in (each for each in requests["policies"] if each["ResourceId"] == resource):
                _define_policy(variant, "Following", made, policy)
            for wake in wakes:
                waking = _define_policy(variant, "Waking", made, wake["policy"])
                _define_waking_alarm(variant, wake["alarm"], waking.attr_arn)


def machine_only_problems(rollout: RolloutSpec) -> list[str]:
    """Return the settings of a rollout that only the Deploy machine supports, as problems."""
    requested = {
        "min_invocations": rollout.min_invocations > 0,
        "golden requests": rollout.golden is not None,
        "synthetic traffic": rollout.synthetic is not None,
        "a shadow variant": rollout.shadow is not None,
        "probation": rollout.probation is not None,
        "metrics of the unit's own": bool(rollout.metrics),
        "max_latency_ratio": rollout.max_latency_ratio is not None,
        "max_bake": rollout.max_bake is not None,
    }
    return [
        f"{what}: only the Deploy machine supports it, and CLOUDFORMATION has none; leave it out, or use Ownership.PIPELINE"
        for what, is_requested in requested.items()
        if is_requested
    ]


def _deployment(rollout: RolloutSpec, alarms: Sequence[cloudwatch.IAlarm]) -> dict[str, object]:
    """Return the DeploymentConfig of a policy, the same as the Deploy machine sends.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeploymentConfig.html
    """
    size = {"type": "CAPACITY_PERCENT", "value": rollout.percent}
    deployment: dict[str, object] = {
        "autoRollbackConfiguration": {"alarms": [{"alarmName": alarm.alarm_name} for alarm in alarms]}
    }
    if rollout.kind == "ROLLING":
        deployment["rollingUpdatePolicy"] = {
            "maximumBatchSize": size,
            "waitIntervalInSeconds": rollout.bake,
            "maximumExecutionTimeoutInSeconds": rollout.maximum,
        }
        return deployment
    routing: dict[str, object] = {"type": rollout.kind, "waitIntervalInSeconds": rollout.bake}
    if rollout.kind == "CANARY":
        routing["canarySize"] = size
    elif rollout.kind == "LINEAR":
        routing["linearStepSize"] = size
    deployment["blueGreenUpdatePolicy"] = {
        "trafficRoutingConfiguration": routing,
        "terminationWaitInSeconds": rollout.bake,
        "maximumExecutionTimeoutInSeconds": rollout.maximum,
    }
    return deployment


def _define_target(
    scope: Construct, request: Mapping[str, Any], schedules: Sequence[Mapping[str, object]]
) -> autoscaling.CfnScalableTarget:
    return autoscaling.CfnScalableTarget(
        scope,
        "Target",
        service_namespace=NAMESPACE,
        scalable_dimension=DIMENSION,
        resource_id=request["ResourceId"],
        min_capacity=request["MinCapacity"],
        max_capacity=request["MaxCapacity"],
        scheduled_actions=[
            _properties(schedule, leave=("ServiceNamespace", "ResourceId", "ScalableDimension"))
            for schedule in schedules
        ],
    )


def _define_policy(
    scope: Construct, id: str, target: autoscaling.CfnScalableTarget, request: Mapping[str, object]
) -> autoscaling.CfnScalingPolicy:
    return autoscaling.CfnScalingPolicy(
        scope,
        id,
        policy_name=str(request["PolicyName"]),
        policy_type=str(request["PolicyType"]),
        scaling_target_id=target.ref,
        target_tracking_scaling_policy_configuration=_properties(
            request.get("TargetTrackingScalingPolicyConfiguration")
        ),
        step_scaling_policy_configuration=_properties(request.get("StepScalingPolicyConfiguration")),
    )


def _define_waking_alarm(scope: Construct, request: Mapping[str, object], policy_arn: str) -> cloudwatch.CfnAlarm:
    return cloudwatch.CfnAlarm(
        scope,
        "Alarm",
        alarm_description=str(request["AlarmDescription"]),
        namespace=str(request["Namespace"]),
        metric_name=str(request["MetricName"]),
        dimensions=_properties(request["Dimensions"]),
        statistic="Average",
        period=60,
        evaluation_periods=2,
        datapoints_to_alarm=2,
        threshold=1,
        comparison_operator="GreaterThanOrEqualToThreshold",
        treat_missing_data="missing",
        alarm_actions=[policy_arn],
    )


def _properties(value: object, *, leave: Sequence[str] = ()) -> Any:
    """Convert an AWS API request to CfnResource properties: CDK spells keys in camel case, acronyms too."""
    if isinstance(value, Mapping):
        return {_key(name): _properties(inner) for name, inner in value.items() if name not in leave}
    if isinstance(value, list):
        return [_properties(inner) for inner in value]
    return value


def _key(name: str) -> str:
    first, *rest = _WORDS.sub("_", name).split("_")
    return first.lower() + "".join(word.capitalize() for word in rest)
