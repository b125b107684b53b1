"""A model behind an endpoint: how it is served, never which model; the Deploy machine alone says that."""

from typing import TYPE_CHECKING, Protocol, Unpack

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._bucket import define_bucket
from mlops_constructs._iam import ServiceRole, key_statement, service_role
from mlops_constructs._sagemaker import ROLE_REASON, SERVICE, alarm_arn, container_statements, sagemaker_arn
from mlops_constructs._validation import check_pattern, raise_if_any
from mlops_constructs.model_endpoint.capacity import EndpointCapacity
from mlops_constructs.model_endpoint.capture import DataCapture
from mlops_constructs.model_endpoint.metrics import MetricOptions, endpoint_metric
from mlops_constructs.model_registry import ModelImage, ModelRegistry
from mlops_constructs.rollout import RolloutPolicy, SageMakerTarget
from mlops_constructs.rollout.rollout import Rollout
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import CaptureSpec

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit

VARIANT = "AllTraffic"
CAPTURE_PREFIX = "capture"
LABELS_PREFIX = "labels"
_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"


class IModelEndpoint(Protocol):
    """An endpoint, defined here or elsewhere."""

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint."""
        ...

    @property
    def endpoint_arn(self) -> str:
        """ARN of the endpoint."""
        ...

    @property
    def variant(self) -> str:
        """Name of its variant."""
        ...

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody ask for predictions."""
        ...


class _ModelEndpointBase(Construct):
    """Grants and metrics of any endpoint."""

    def __init__(self, scope: Construct, id: str, *, endpoint_name: str) -> None:
        super().__init__(scope, id)
        self._endpoint_name = endpoint_name

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint."""
        return self._endpoint_name

    @property
    def endpoint_arn(self) -> str:
        """ARN of the endpoint."""
        return sagemaker_arn(self, "endpoint", self._endpoint_name)

    @property
    def variant(self) -> str:
        """Name of its variant."""
        return VARIANT

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody ask for predictions.

        Args:
            grantee: Who.
        """
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=["sagemaker:InvokeEndpoint"], resource_arns=[self.endpoint_arn]
        )

    def metric(self, metric_name: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return any of SageMaker's metrics of the endpoint.

        Args:
            metric_name: SageMaker's name of it.
            options: Label, period (default five minutes) and statistic (default average).
        """
        return endpoint_metric(self._endpoint_name, VARIANT, metric_name, **options)

    def metric_invocations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls.

        Args:
            options: Label, period (default five minutes) and statistic (default sum).
        """
        options.setdefault("statistic", cloudwatch.Stats.SUM)
        return self.metric("Invocations", **options)

    def metric_model_latency(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the model's own time in microseconds.

        Args:
            options: Label, period (default five minutes) and statistic (default 95th percentile).
        """
        options.setdefault("statistic", "p95")
        return self.metric("ModelLatency", **options)

    def metric_invocation_5xx_errors(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls that failed at the server.

        Args:
            options: Label, period (default five minutes) and statistic (default sum).
        """
        options.setdefault("statistic", cloudwatch.Stats.SUM)
        return self.metric("Invocation5XXErrors", **options)


class ModelEndpoint(_ModelEndpointBase):
    """Serve the approved models of a registry behind one endpoint. Stateful.

    Defines how the endpoint is served (capacity, capture, key, network, rollout) as a serving spec, the model's role, the bucket
    of captures and labels, alarms, and the rollout. The endpoint itself is made at the first approval: a stack in an empty
    account deploys without a model.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        registry: Approved packages of this group are served.
        name: Name of the model, 2 to 20 lower-case letters, digits, hyphens; the endpoint is ``<unit>-<name>``.
        image: Image that packages of the registry use; the model's role may pull it.
        capacity: On what it runs.
        capture: What is kept of calls. Default: nothing, so no monitor can run.
        rollout: How a new model takes over. Default: a canary of half the instances, ten minutes of bake; with one instance
            all at once.

    Raises:
        ValidationError: If name, capacity and rollout cannot work together.

    Example:
        >>> endpoint = ModelEndpoint(self, "Endpoint", business_unit=unit, registry=registry, name="forecast", image=image,
        ...                          capacity=EndpointCapacity.instances("ml.m5.large", count=2))
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: "BusinessUnit",
        registry: ModelRegistry,
        name: str,
        image: ModelImage,
        capacity: EndpointCapacity,
        capture: DataCapture | None = None,
        rollout: RolloutPolicy | None = None,
    ) -> None:
        super().__init__(scope, id, endpoint_name=f"{business_unit.name}-{name}")
        allowed = "2 to 20 lower-case letters, digits or hyphens, starting with a letter"
        raise_if_any(self, "InvalidModelEndpoint", [check_pattern("name", name, pattern=_NAME, allowed=allowed)])
        self._unit = business_unit
        self._policy = _default_policy(capacity) if rollout is None else rollout
        self._capture_bucket = None if capture is None else self._define_capture_bucket(capture)
        self._role = self._define_role(image)
        self._rollout = Rollout(
            self,
            "Rollout",
            business_unit=business_unit,
            registry=registry,
            spec=self._render_spec(capacity, capture),
            policy=self._policy,
            target=SageMakerTarget(endpoint_name=self.endpoint_name, instance_count=capacity.count),
            execution_role=self._role,
        )
        self._alarms = self._define_alarms()
        business_unit.tag(self)

    @classmethod
    def from_endpoint_name(cls, scope: Construct, id: str, *, endpoint_name: str) -> IModelEndpoint:
        """Use an endpoint that is defined elsewhere in the account and region.

        Args:
            scope: Parent.
            id: Construct id.
            endpoint_name: Its name.
        """
        return _ModelEndpointBase(scope, id, endpoint_name=endpoint_name)

    @property
    def rollout(self) -> Rollout:
        """Rollout table, Deploy machine and functions."""
        return self._rollout

    @property
    def role(self) -> iam.IRole:
        """Role of the model's containers."""
        return self._role

    @property
    def capture_bucket(self) -> s3.IBucket | None:
        """Bucket of captures and labels; None without capture."""
        return self._capture_bucket

    @property
    def alarms(self) -> dict[str, cloudwatch.IAlarm]:
        """Alarms of whichever fleet serves, by what they watch: ``errors``."""
        return dict(self._alarms)

    def _define_capture_bucket(self, capture: DataCapture) -> s3.Bucket:
        return define_bucket(
            self,
            "Capture",
            business_unit=self._unit,
            lifecycle_rules=[s3.LifecycleRule(expiration=capture.retention)],
            noncurrent_days=7,
            event_bridge=True,
        )

    def _define_role(self, image: ModelImage) -> ServiceRole:
        models = self._unit.artifacts.arn_for_objects(f"models/{self.endpoint_name}/*")
        # SageMaker reads the alarms that roll a deployment back with the model's role
        # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
        rollback = [alarm_arn(self, f"{self.endpoint_name}-rollout-*"), *(a.alarm_arn for a in self._policy.alarms)]
        statements = [
            *image.pull_statements(self),
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[models]),
            key_statement(self._unit.key, services=["s3"]),
            iam.PolicyStatement(actions=["cloudwatch:DescribeAlarms"], resources=rollback),
            *container_statements(
                self,
                log_group=f"/aws/sagemaker/Endpoints/{self.endpoint_name}",
                namespace="/aws/sagemaker/Endpoints",
            ),
        ]
        if self._capture_bucket is not None:
            captures = self._capture_bucket.arn_for_objects(f"{CAPTURE_PREFIX}/{self.endpoint_name}/*")
            statements.append(iam.PolicyStatement(actions=["s3:PutObject"], resources=[captures]))
        return service_role(
            self,
            "Role",
            service=SERVICE,
            statements=statements,
            business_unit=self._unit,
            description=f"Containers of models behind {self.endpoint_name}",
            wildcard_reason=ROLE_REASON,
        )

    def _render_spec(self, capacity: EndpointCapacity, capture: DataCapture | None) -> ServingSpec:
        key = self._unit.key.key_arn
        return ServingSpec(
            endpoint=self.endpoint_name,
            variant=VARIANT,
            instance_type=capacity.instance_type,
            instance_count=capacity.count,
            execution_role=self._role.role_arn,
            subnets=tuple(self._unit.subnet_ids),
            security_groups=(self._unit.security_group.security_group_id,),
            rollout=self._policy.to_spec(),
            kms_key=key,
            capture=None
            if capture is None or self._capture_bucket is None
            else CaptureSpec(
                percent=capture.percent,
                destination=self._capture_bucket.s3_url_for_object(CAPTURE_PREFIX),
                kms_key=key,
            ),
            tags=dict(self._unit.tags),
        )

    def _define_alarms(self) -> dict[str, cloudwatch.Alarm]:
        errors = self.metric_invocation_5xx_errors().create_alarm(
            self,
            "ErrorsAlarm",
            threshold=5,
            evaluation_periods=3,
            datapoints_to_alarm=3,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            # no calls, no errors: that nobody calls is what the monitor's heartbeat says
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=(
                f"{self.endpoint_name} answered with 5xx at least 5 times in each of three periods of five minutes; read "
                f"/aws/sagemaker/Endpoints/{self.endpoint_name}, or start the Deploy machine with reason=rollback"
            ),
        )
        errors.add_alarm_action(actions.SnsAction(self._unit.topic))
        return {"errors": errors}


def _default_policy(capacity: EndpointCapacity) -> RolloutPolicy:
    if capacity.count == 1:
        return RolloutPolicy.all_at_once()
    return RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10))
