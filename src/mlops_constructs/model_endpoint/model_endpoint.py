"""The ``ModelEndpoint`` construct: a SageMaker endpoint that serves the approved models of a registry."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct, IConstruct
from mlops_constructs._arguments import checked
from mlops_constructs._platform_rules import rule_problems
from mlops_constructs._roles import ServiceRole, alarm_arn
from mlops_constructs._validation import ValidationError, check_pattern, raise_if_any
from mlops_constructs._warnings import PLACEHOLDER_IMAGE, warn
from mlops_constructs.compliance import acknowledge
from mlops_constructs.model_endpoint.data_capture import (
    DataCapture,
    PersonalKey,
    define_capture_bucket,
    define_personal_key,
    grant_labels,
    personal_spec,
)
from mlops_constructs.model_endpoint.endpoint_alarms import (
    define_errors_alarm,
    define_rollback_errors,
    define_rollback_latency,
    rollback_errors_name,
)
from mlops_constructs.model_endpoint.endpoint_capacity import VARIANT, EndpointCapacity, judged
from mlops_constructs.model_endpoint.endpoint_interface import IModelEndpoint, Ownership
from mlops_constructs.model_endpoint.endpoint_metrics import ModelEndpointBase
from mlops_constructs.model_endpoint.endpoint_role import (
    ANSWERS_PREFIX,
    CAPTURE_PREFIX,
    FAILURES_PREFIX,
    Exchange,
    OnlineFeatures,
    define_model_role,
)
from mlops_constructs.model_endpoint.owned_endpoint import CloudFormationEndpoint
from mlops_constructs.model_endpoint.request_schema import RequestSchema
from mlops_constructs.model_registry import ModelImage
from mlops_constructs.model_registry.registry_interface import IModelRegistry
from mlops_constructs.rollout import RolloutChecks, RolloutPolicy, SageMakerTarget
from mlops_constructs.rollout.rollout import Rollout
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import CaptureSpec
from mlops_runtime.rollout.fleet_capacity import capacity_problems, error_metric
from mlops_runtime.rollout.sagemaker_requests import SHADOW_VARIANT

_CANARY_NEEDS = 2

_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
_NAME_ALLOWED = "2 to 20 lower-case letters, digits or hyphens, starting with a letter"
_PACKAGE = r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:model-package/.+"
_LATENCY_REASON = (
    "each rollout compares the new fleet's latency with the old one's, and a monitor counts slow responses against the "
    "serving's own bound; rejected: one threshold for every model, which never fires or always does"
)
_LOGS_REASON = (
    "SageMaker creates the endpoint's log group and retains it after the endpoint; rejected: a log group in the template, whose "
    "creation would fail wherever the endpoint has existed before"
)
_NO_CAPTURE_REASON = (
    "data capture is off by choice, and monitors refuse an endpoint without it; rejected: capture by default, which stores "
    "callers' data that no monitor reads"
)


def default_policy(capacity: EndpointCapacity, ownership: Ownership) -> RolloutPolicy:
    """Return the default rollout policy of a capacity.

    A canary needs at least two instances in every fleet, also at the lower bound of scaling. Serverless and Inf1 endpoints have
    no deployment guardrails. The canary requires no minimum of calls where calls cannot be counted as evidence: asynchronous
    endpoints do not publish the metric, and CloudFormation does not wait for it.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html

    Args:
        capacity: Capacity of the endpoint.
        ownership: Owner of the endpoint.
    """
    is_excluded = capacity.is_serverless or any(kind.startswith("ml.inf1.") for kind in capacity.instance_types)
    if is_excluded or capacity.smallest_fleet < _CANARY_NEEDS:
        return RolloutPolicy.all_at_once()
    bake = cdk.Duration.minutes(10)
    if capacity.is_asynchronous or ownership is Ownership.CLOUDFORMATION:
        return RolloutPolicy.canary(percent=50, bake=bake, checks=RolloutChecks(min_invocations=0))
    return RolloutPolicy.canary(percent=50, bake=bake)


def _shared_image_problem(registry: IModelRegistry, capacity: EndpointCapacity) -> str | None:
    """Return why the capacity cannot use images of another account.

    See: https://github.com/aws/amazon-sagemaker-feedback/issues/181
    """
    source = registry.shares_images_of
    if source is None or not capacity.is_serverless:
        return None
    return (
        f"a serverless endpoint can only pull images of its own account, and {registry.group_name} may use images of "
        f"{source.name!r} (Images.SHARED); push them to this account and use Images.OWN, or use EndpointCapacity.instances"
    )


@checked("InvalidModelEndpoint")
class ModelEndpoint(ModelEndpointBase):
    """Serve the approved models of a registry behind one endpoint. Stateful.

    Defines the serving spec (capacity, data capture, encryption, network, rollout policy), the model's execution role, the bucket
    of captures and labels, alarms, and the rollout. The endpoint itself is created at the first approval, so the stack deploys
    into an empty account without a model.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        registry: Registry whose approved packages the endpoint serves.
        name: Name of the model, 2 to 20 lower-case letters, digits, hyphens; the endpoint is ``<unit>-<name>``.
        image: Image that packages of the registry use; the model's role may pull it.
        capacity: Instances, serverless or asynchronous capacity of the endpoint.
        capture: Data capture of requests and responses. Default: no data capture, and so no monitors.
        rollout: Rollout policy of new models. Default: a canary of half the instances with a bake time of ten minutes; all at once
            where a fleet has one instance or may scale in to one, and on serverless and Inf1 capacity, which deployment guardrails
            do not support.
        network_isolation: Whether containers run without network access; required where the registry allows pickles. Default:
            isolated, except serverless capacity, which does not support it, and endpoints with ``features``.
        encrypt_volumes: Whether instance volumes are encrypted with the unit's key. Default: encrypted where the instance types
            support a key; local instance storage is encrypted by the instance itself.
        ownership: Whether the Deploy machine or CloudFormation creates the endpoint. Default: the Deploy machine.
        model_package_arn: The model package to serve, only with ``Ownership.CLOUDFORMATION``. Default: the Deploy machine
            serves the approved package.
        features: Online feature table that models read by key, ``FeatureStore.online_features()``; containers then call DynamoDB
            and have no network isolation. Default: requests contain every column.

    Raises:
        ValidationError: If the arguments conflict, or SageMaker would reject or ignore a setting; lists every problem.

    Example:
        >>> endpoint = ModelEndpoint(self, "Endpoint", business_unit=unit, registry=registry, name="forecast", image=image,
        ...                          capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2))
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        registry: IModelRegistry,
        name: str,
        image: ModelImage,
        capacity: EndpointCapacity,
        capture: DataCapture | None = None,
        rollout: RolloutPolicy | None = None,
        network_isolation: bool | None = None,
        encrypt_volumes: bool | None = None,
        ownership: Ownership = Ownership.PIPELINE,
        model_package_arn: str | None = None,
        features: OnlineFeatures | None = None,
    ) -> None:
        super().__init__(scope, id, endpoint_name=f"{business_unit.name}-{name}", business_unit=business_unit)
        problems = [
            check_pattern("name", name, pattern=_NAME, allowed=_NAME_ALLOWED),
            *_ownership_problems(ownership, model_package_arn),
            "network_isolation prevents containers from reading the online table of features; leave one of both out"
            if features is not None and network_isolation
            else None,
        ]
        policy = default_policy(capacity, ownership) if rollout is None else rollout
        problems += rule_problems(
            business_unit,
            self,
            images={"image": image},
            instance_types={f"capacity.instance_types[{at}]": each for at, each in enumerate(capacity.instance_types)},
            rollout=policy.to_spec(),
        )
        problems += [_shared_image_problem(registry, capacity)]
        raise_if_any(self, "InvalidModelEndpoint", problems)
        self._unit = business_unit
        self._capacity = capacity
        self._features = features
        self._policy = policy
        shadow = [SHADOW_VARIANT] if policy.checks.shadow is not None else []
        self._variants = (VARIANT, *(each.name for each in capacity.variants), *shadow)
        self._capture_bucket = (
            None if capture is None else define_capture_bucket(self, business_unit=business_unit, capture=capture)
        )
        self._personal_key = define_personal_key(
            self,
            "PersonalKey",
            business_unit=business_unit,
            endpoint_name=self.endpoint_name,
            personal=None if capture is None else capture.personal_data,
        )
        self._exchange = self._define_exchange()
        rollback = self._define_rollback_alarms(ownership)
        self._role = self._define_role(image, registry, ownership, rollback)
        spec = self._render_spec(
            capture,
            is_isolated=(not capacity.is_serverless and features is None)
            if network_isolation is None
            else network_isolation,
            is_encrypted=capacity.takes_key if encrypt_volumes is None else encrypt_volumes,
        )
        raise_if_any(self, "InvalidModelEndpoint", [*capacity_problems(judged(spec)), _trust_problem(registry, spec)])
        self._alarms = self._define_alarms(ownership)
        self._rollout: Rollout | None = None
        if model_package_arn is None:
            self._rollout = self._define_rollout(registry, spec)
            self._rollout.require_image(image)
            for bucket in self._written_buckets():
                self._rollout.stop_before(bucket)
        else:
            self._define_served(spec, model_package_arn, rollback)
            # no function checks the image registry here: the deployment itself fails if the image is missing
            if image.is_placeholder:
                warn(self, PLACEHOLDER_IMAGE, **image.placeholder_words)
        _acknowledge_findings(
            self,
            spec,
            is_expanded=model_package_arn is None,
            has_latency_alarm=bool(rollback) and spec.rollout.max_latency_ms is not None,
        )
        business_unit.tag(self)

    @classmethod
    def from_endpoint_name(
        cls,
        scope: Construct,
        id: str,
        *,
        endpoint_name: str,
        variant: str = VARIANT,
        business_unit: IBusinessUnit | None = None,
    ) -> IModelEndpoint:
        """Import an endpoint that is defined elsewhere in the account and region.

        Args:
            scope: Parent construct.
            id: Construct id.
            endpoint_name: Name of the deployed endpoint.
            variant: Name of its main variant. Default: ``AllTraffic``.
            business_unit: Owning business unit. Default: unknown; reading ``business_unit`` then raises a ``ValidationError``.
        """
        return ModelEndpointBase(scope, id, endpoint_name=endpoint_name, variant=variant, business_unit=business_unit)

    @property
    def rollout(self) -> Rollout:
        """Rollout table, Deploy machine and functions.

        Raises:
            ValidationError: If CloudFormation owns the endpoint, which then has no Deploy machine.
        """
        if self._rollout is None:
            problem = (
                "an endpoint with ownership CLOUDFORMATION has no rollout: its stack sets the model package; "
                "use Ownership.PIPELINE to deploy models by rollouts"
            )
            raise ValidationError("NoRollout", [problem], self)
        return self._rollout

    @property
    def ownership(self) -> Ownership:
        """Whether the Deploy machine or CloudFormation creates the endpoint."""
        return Ownership.CLOUDFORMATION if self._rollout is None else Ownership.PIPELINE

    @property
    def role(self) -> iam.IRole:
        """Execution role of the model's containers."""
        return self._role

    @property
    def capture_bucket(self) -> s3.IBucket | None:
        """Bucket of captures and labels; ``None`` without data capture."""
        return self._capture_bucket

    @property
    def personal_key(self) -> PersonalKey | None:
        """Key that hashes personal fields; ``None`` if no field is hashed."""
        return self._personal_key

    @property
    def exchange(self) -> Exchange | None:
        """Bucket of requests and responses of an asynchronous endpoint; ``None`` for other endpoints."""
        return self._exchange

    @property
    def alarms(self) -> dict[str, cloudwatch.IAlarm]:
        """Alarms of the endpoint, by key: ``errors``."""
        return dict(self._alarms)

    def keep_promise(self, request: RequestSchema) -> None:
        """Reject candidates that do not accept every request an API allows; `InferenceApi.add_model` calls this in the same app.

        Preflight and the gate of each pipeline compare the candidate's signature with the schema. The live model and rollbacks are
        not checked. The schema is part of the serving spec, so adding it redeploys the live model.

        Args:
            request: Requests that the API accepts.

        Raises:
            ValidationError: If CloudFormation owns the endpoint, which then has no Deploy machine to check candidates.

        Example:
            >>> endpoint.keep_promise(RequestSchema.from_file("forecast.schema.json"))
        """
        self.rollout.keep_promise(request.promise)

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant invoking the endpoint and, if it hashes personal fields, reading their key.

        Args:
            grantee: Principal to grant access to.

        Raises:
            ValidationError: If the endpoint is asynchronous, which rejects ``InvokeEndpoint``.
        """
        if self._exchange is not None:
            problem = "an asynchronous endpoint takes no direct calls; use grant_invoke_async"
            raise ValidationError("InvalidGrant", [problem], self)
        granted = super().grant_invoke(grantee)
        return granted if self._personal_key is None else granted.combine(self._personal_key.grant_read(grantee))

    def grant_labels(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant uploading labels, and assigning the caller's own ids to rows of calls, without access to captures.

        Without read access to captures, the inference id of a call with one row cannot be verified and is accepted unchecked.

        Args:
            grantee: Principal to grant access to.

        Raises:
            ValidationError: If the endpoint has no data capture to join labels with.
        """
        return grant_labels(
            grantee,
            self,
            endpoint_name=self.endpoint_name,
            captures=self._capture_bucket,
            business_unit=self._unit,
            table=self.rollout.table,
        )

    def grant_invoke_async(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant writing requests to the endpoint's bucket, invoking it asynchronously, and reading responses and failures.

        Args:
            grantee: Principal to grant access to.

        Raises:
            ValidationError: If the endpoint is not asynchronous, and so rejects ``InvokeEndpointAsync``.
        """
        if self._exchange is None:
            problem = "only an asynchronous endpoint takes requests from S3; use grant_invoke, or EndpointCapacity.asynchronous"
            raise ValidationError("InvalidGrant", [problem], self)
        return super().grant_invoke_async(grantee).combine(self._exchange.grant_use(grantee))

    def _define_exchange(self) -> Exchange | None:
        config = self._capacity.asynchronous_config
        if config is None:
            return None
        return Exchange(
            self,
            "Exchange",
            business_unit=self._unit,
            endpoint_name=self.endpoint_name,
            retention=config.retention,
        )

    def _written_buckets(self) -> list[s3.IBucket]:
        exchanged = None if self._exchange is None else self._exchange.bucket
        return [bucket for bucket in (self._capture_bucket, exchanged) if bucket is not None]

    def _define_role(
        self,
        image: ModelImage,
        registry: IModelRegistry,
        ownership: Ownership,
        rollback: list[cloudwatch.IAlarm],
    ) -> ServiceRole:
        is_owned = ownership is Ownership.CLOUDFORMATION and not self._capacity.is_serverless
        errors = rollback_errors_name(self.endpoint_name) if is_owned else f"{self.endpoint_name}-rollout-*"
        source = registry.shares_images_of
        made = [alarm_arn(self, errors), *(alarm.alarm_arn for alarm in rollback)]
        return define_model_role(
            self,
            "Role",
            business_unit=self._unit,
            endpoint_name=self.endpoint_name,
            image=image,
            capacity=self._capacity,
            rollback_alarms=[*made, *(alarm.alarm_arn for alarm in self._policy.alarms)],
            capture_bucket=self._capture_bucket,
            exchange=self._exchange,
            is_rehearsed=self._policy.checks.golden is not None,
            more=[
                *image.shared_pull_statements(self, None if source is None else source.account),
                *(() if self._features is None else self._features.statements),
            ],
        )

    def _render_spec(self, capture: DataCapture | None, *, is_isolated: bool, is_encrypted: bool) -> ServingSpec:
        key, capacity, config = self._unit.key.key_arn, self._capacity, self._capacity.asynchronous_config
        is_placed = not capacity.is_serverless
        return ServingSpec(
            endpoint=self.endpoint_name,
            variant=VARIANT,
            instance_type=capacity.instance_type,
            instance_count=capacity.instance_count,
            execution_role=self._role.role_arn,
            subnets=tuple(self._unit.subnet_ids) if is_placed else (),
            security_groups=(self._unit.security_group.security_group_id,) if is_placed else (),
            rollout=self._policy.to_spec(),
            network_isolation=is_isolated,
            kms_key=key if is_encrypted else None,
            capture=None
            if capture is None or self._capture_bucket is None
            else CaptureSpec(
                percent=capture.sampling_percent,
                destination=self._capture_bucket.s3_url_for_object(CAPTURE_PREFIX),
                kms_key=key,
                personal=personal_spec(capture.personal_data, self._personal_key),
            ),
            tags=dict(self._unit.tags),
            serverless=capacity.serverless_config,
            asynchronous=None
            if config is None or self._exchange is None
            else config.to_spec(
                output=self._exchange.uri(ANSWERS_PREFIX), failures=self._exchange.uri(FAILURES_PREFIX), kms_key=key
            ),
            scaling=None if capacity.scaling is None else capacity.scaling.to_spec(),
            variants=tuple(variant.to_spec() for variant in capacity.variants) or None,
            online_table=None if self._features is None else self._features.table_name,
        )

    def _define_rollout(self, registry: IModelRegistry, spec: ServingSpec) -> Rollout:
        return Rollout(
            self,
            "Rollout",
            business_unit=self._unit,
            registry=registry,
            spec=spec,
            policy=self._policy,
            target=SageMakerTarget(endpoint_name=self.endpoint_name, instance_count=self._capacity.smallest_fleet),
            execution_role=self._role,
        )

    def _define_served(self, spec: ServingSpec, package_arn: str, rollback: list[cloudwatch.IAlarm]) -> None:
        def watch(config: str) -> cloudwatch.IAlarm:
            return define_rollback_errors(
                self,
                endpoint=self,
                policy=spec.rollout,
                topic=self._unit.topic,
                metric=error_metric(spec),
                config=config,
            )

        served = CloudFormationEndpoint(
            self,
            "Served",
            spec=spec,
            package_arn=package_arn,
            role=self._role,
            alarms=[*rollback, *self._policy.alarms],
            watch=watch if spec.serverless is None else None,
        )
        served.node.add_dependency(*self._written_buckets())  # the endpoint is deleted before they are emptied

    def _define_rollback_alarms(self, ownership: Ownership) -> list[cloudwatch.IAlarm]:
        if ownership is Ownership.PIPELINE or self._capacity.is_serverless:
            return []
        return define_rollback_latency(self, endpoint=self, policy=self._policy.to_spec(), topic=self._unit.topic)

    def _define_alarms(self, ownership: Ownership) -> dict[str, cloudwatch.Alarm]:
        by_pipeline = "start the Deploy machine with reason=rollback"
        by_stack = "deploy the stack with the previous model package"
        fix = by_stack if ownership is Ownership.CLOUDFORMATION else by_pipeline
        return {"errors": define_errors_alarm(self, endpoint=self, topic=self._unit.topic, fix=fix)}


def _ownership_problems(ownership: Ownership, model_package_arn: str | None) -> list[str | None]:
    if ownership is Ownership.PIPELINE:
        is_named = model_package_arn is not None
        return [
            "model_package_arn has no effect with Ownership.PIPELINE, whose Deploy machine serves the approved package, got "
            f"{model_package_arn!r}; leave it out, or use Ownership.CLOUDFORMATION"
            if is_named
            else None
        ]
    if model_package_arn is None:
        return ["model_package_arn must be given with Ownership.CLOUDFORMATION, whose stack sets the model package"]
    allowed = "the ARN of a model package version"
    return [check_pattern("model_package_arn", model_package_arn, pattern=_PACKAGE, allowed=allowed)]


def _trust_problem(registry: IModelRegistry, spec: ServingSpec) -> str | None:
    if spec.network_isolation or "pickle" not in registry.trust:
        return None
    fix = "leave network_isolation out" if spec.serverless is None else "serve it by instances"
    return (
        f"{registry.group_name} allows pickles, which may run any code, so network_isolation must be on, got "
        f"{spec.network_isolation}; {fix}, or remove 'pickle' from the registry's trust"
    )


def _acknowledge_findings(
    construct: IConstruct, spec: ServingSpec, *, is_expanded: bool, has_latency_alarm: bool
) -> None:
    """Acknowledge the endpoint's findings; the checks expand it from its serving spec if no template has it (``is_expanded``)."""

    def found(rule: str, kind: str, detail: str = "") -> str:
        inside = ":".join(part for part in (kind if is_expanded else "", detail) if part)
        return f"Mlops-{rule}[{inside}]" if inside else f"Mlops-{rule}"

    acknowledge(construct, found("LogRetention", "Endpoint", "logs"), _LOGS_REASON)
    if not has_latency_alarm:
        acknowledge(construct, found("EndpointAlarms", "Endpoint", "latency"), _LATENCY_REASON)
    if spec.capture is None and spec.serverless is None and spec.asynchronous is None:
        acknowledge(construct, found("EndpointDataCapture", "EndpointConfig"), _NO_CAPTURE_REASON)
