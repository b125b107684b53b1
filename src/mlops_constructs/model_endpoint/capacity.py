"""On what an endpoint runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import aws_cdk as cdk
from aws_cdk import aws_sns as sns

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_pattern, check_range, is_known
from mlops_constructs.model_endpoint.scaling import Scaling
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import AsynchronousSpec, ServerlessSpec, VariantSpec
from mlops_runtime.rollout.capacity_limits import least, takes_key
from mlops_runtime.rollout.fleet_capacity import capacity_problems

VARIANT = "AllTraffic"
_INSTANCE_TYPE = r"ml\.[a-z0-9-]+\.[a-z0-9]+"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
_MAXIMUM_COUNT = 1000


@checked("InvalidCapacity")
@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointVariant:
    """A further fleet of the same model, for instance on other instances, with its share of the calls.

    Args:
        name: Name of the variant, not ``AllTraffic``, which is the main one.
        instance_type: SageMaker's name, such as ``ml.c7g.large``.
        instance_count: Number of instances.
        weight: Share of the calls, from 0 to below 1; the main variant gets what is left.

    Example:
        >>> EndpointVariant(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.1).weight
        0.1
    """

    name: str
    instance_type: str
    instance_count: int
    weight: float

    def to_spec(self) -> VariantSpec:
        """Return it as the serving spec carries it."""
        return VariantSpec(
            name=self.name, instance_type=self.instance_type, instance_count=self.instance_count, weight=self.weight
        )


@checked("InvalidCapacity")
@dataclass(frozen=True, slots=True, kw_only=True)
class AsynchronousInference:
    """What an asynchronous endpoint does with requests and answers. Made by ``EndpointCapacity.asynchronous``."""

    max_concurrency: int | None = None
    success_topic: sns.ITopic | None = None
    error_topic: sns.ITopic | None = None
    retention: cdk.Duration = field(default_factory=lambda: cdk.Duration.days(30))

    def __post_init__(self) -> None:
        days = cdk.Duration.days
        problem = check_duration("retention", self.retention, minimum=days(1), maximum=days(3650), whole="days")
        if problem is not None:
            raise ValidationError("InvalidCapacity", [problem])

    @property
    def topics(self) -> list[sns.ITopic]:
        """Topics that hear of answers and failures."""
        return [topic for topic in (self.success_topic, self.error_topic) if topic is not None]

    def to_spec(self, *, output: str, failures: str, kms_key: str | None) -> AsynchronousSpec:
        """Return it as the serving spec carries it.

        Args:
            output: S3 URI below which answers are written.
            failures: S3 URI below which failures are written.
            kms_key: Key of both.
        """
        return AsynchronousSpec(
            output=output,
            failures=failures,
            max_concurrency=self.max_concurrency,
            success_topic=None if self.success_topic is None else self.success_topic.topic_arn,
            error_topic=None if self.error_topic is None else self.error_topic.topic_arn,
            kms_key=kms_key,
        )


@checked("InvalidCapacity")
@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCapacity:
    """What is behind an endpoint. Use ``instances``, ``serverless`` or ``asynchronous``.

    Example:
        >>> EndpointCapacity.instances("ml.m5.large", instance_count=2).instance_count
        2
    """

    instance_type: str
    instance_count: int
    scaling: Scaling | None = None
    variants: tuple[EndpointVariant, ...] = ()
    serverless_config: ServerlessSpec | None = None
    asynchronous_config: AsynchronousInference | None = None

    def __post_init__(self) -> None:
        problems = capacity_problems(judged(self._alone()))
        if problems:
            raise ValidationError("InvalidCapacity", problems)

    @classmethod
    def instances(
        cls,
        instance_type: str,
        *,
        instance_count: int,
        scaling: Scaling | None = None,
        variants: Sequence[EndpointVariant] = (),
    ) -> "EndpointCapacity":
        """Run on instances that answer at once.

        Args:
            instance_type: SageMaker's name, such as ``ml.m5.large``.
            instance_count: Number of instances; SageMaker spreads two or more over zones.
            scaling: Bounds of the fleet and what it follows. Default: the number is fixed.
            variants: Further fleets of the same model. Default: none.

        Raises:
            ValidationError: With everything that SageMaker would refuse.

        Example:
            >>> scaling = Scaling(min_capacity=2, max_capacity=8, target_invocations=600)
            >>> EndpointCapacity.instances("ml.m5.large", instance_count=2, scaling=scaling).scaling.max_capacity
            8
        """
        _check_instances(instance_type, instance_count)
        return cls(
            instance_type=instance_type, instance_count=instance_count, scaling=scaling, variants=tuple(variants)
        )

    @classmethod
    def serverless(
        cls, *, memory: cdk.Size, max_concurrency: int, provisioned_concurrency: int | None = None
    ) -> "EndpointCapacity":
        """Run without instances: for few calls that may wait for a cold start.

        Serverless inference has no network of ours, no network isolation, no capture, no key of ours for volumes, no further
        variants, and new models take over all at once without being watched.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html

        Args:
            memory: 1 to 6 GiB in whole ones.
            max_concurrency: Calls at the same time at most, 1 to 200.
            provisioned_concurrency: How many of these are kept warm. Default: none.

        Raises:
            ValidationError: If a value is not possible.

        Example:
            >>> import aws_cdk as cdk
            >>> EndpointCapacity.serverless(memory=cdk.Size.gibibytes(2), max_concurrency=20).is_serverless
            True
        """
        config = ServerlessSpec(
            memory_mb=int(memory.to_mebibytes()),
            max_concurrency=max_concurrency,
            provisioned_concurrency=provisioned_concurrency,
        )
        return cls(instance_type="", instance_count=0, serverless_config=config)

    @classmethod
    def asynchronous(
        cls,
        instance_type: str,
        *,
        instance_count: int,
        scaling: Scaling | None = None,
        max_concurrency: int | None = None,
        success_topic: sns.ITopic | None = None,
        error_topic: sns.ITopic | None = None,
        retention: cdk.Duration | None = None,
    ) -> "EndpointCapacity":
        """Run on instances that work off a queue: for large requests, long answers, and fleets that may be empty.

        Requests are S3 objects, answers too: the endpoint defines a bucket for both.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html

        Args:
            instance_type: SageMaker's name, such as ``ml.m5.large``.
            instance_count: Number of instances to begin with.
            scaling: Bounds of the fleet, from 0 on, and what it follows. Default: the number is fixed.
            max_concurrency: Requests that an instance works on at the same time, 1 to 1000. Default: SageMaker chooses.
            success_topic: Topic that hears of answers; the key of an encrypted topic must admit the endpoint's role. Default:
                none.
            error_topic: Topic that hears of failures, likewise. Default: none.
            retention: How long requests, answers and failures are kept. Default: 30 days.

        Raises:
            ValidationError: With everything that SageMaker would refuse.

        Example:
            >>> scaling = Scaling(min_capacity=0, max_capacity=4, target_backlog=5)
            >>> EndpointCapacity.asynchronous("ml.m5.large", instance_count=1, scaling=scaling).is_asynchronous
            True
        """
        _check_instances(instance_type, instance_count)
        kept = cdk.Duration.days(30) if retention is None else retention
        config = AsynchronousInference(
            max_concurrency=max_concurrency, success_topic=success_topic, error_topic=error_topic, retention=kept
        )
        return cls(
            instance_type=instance_type, instance_count=instance_count, scaling=scaling, asynchronous_config=config
        )

    @property
    def is_serverless(self) -> bool:
        """Whether it runs without instances."""
        return self.serverless_config is not None

    @property
    def is_asynchronous(self) -> bool:
        """Whether it works off a queue."""
        return self.asynchronous_config is not None

    @property
    def smallest_fleet(self) -> int:
        """Instances that the smallest variant may have, also by its scaling: a canary is a slice of them."""
        bounds = [] if self.scaling is None else [least(self.scaling.to_spec())]
        return min([self.instance_count, *(variant.instance_count for variant in self.variants), *bounds])

    @property
    def instance_types(self) -> list[str]:
        """Types of all variants, each once."""
        types = [self.instance_type, *(variant.instance_type for variant in self.variants)]
        return [] if self.is_serverless else list(dict.fromkeys(types))

    @property
    def takes_key(self) -> bool:
        """Whether the volumes of all instances can be encrypted with the unit's key."""
        return takes_key(judged(self._alone()))

    def _alone(self) -> ServingSpec:
        """Return a spec that has this capacity and nothing else, by which the rules of the capacity alone are judged."""
        where = "s3://bucket"
        config = self.asynchronous_config
        return ServingSpec(
            endpoint="endpoint",
            variant=VARIANT,
            instance_type=self.instance_type,
            instance_count=self.instance_count,
            execution_role="",
            subnets=(),
            security_groups=(),
            network_isolation=False,
            rollout=RolloutSpec(kind="ALL_AT_ONCE", bake=0, maximum=3600),
            serverless=self.serverless_config,
            asynchronous=None if config is None else config.to_spec(output=where, failures=where, kms_key=None),
            scaling=None if self.scaling is None else self.scaling.to_spec(),
            variants=tuple(variant.to_spec() for variant in self.variants) or None,
        )


def judged(spec: ServingSpec) -> ServingSpec:
    """Return a spec in which what is only known at deployment has a value that no rule objects to."""
    return replace(
        spec,
        instance_type=spec.instance_type if is_known(spec.instance_type) else "ml.m5.large",
        instance_count=spec.instance_count if is_known(spec.instance_count) else 2,
    )


def _check_instances(instance_type: str, instance_count: int) -> None:
    problems = [
        check_pattern("instance_type", instance_type, pattern=_INSTANCE_TYPE, allowed="a type such as 'ml.m5.large'"),
        check_range("instance_count", instance_count, minimum=1, maximum=_MAXIMUM_COUNT),
    ]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ValidationError("InvalidCapacity", found)
