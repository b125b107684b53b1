"""Capacity of an endpoint: instances, serverless or asynchronous, and its scaling."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import aws_cdk as cdk
from aws_cdk import aws_sns as sns

from mlops_constructs._arguments import checked
from mlops_constructs._validation import (
    ValidationError,
    check_duration,
    check_pattern,
    check_range,
    is_known,
    raise_problems,
)
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import (
    AsynchronousSpec,
    ScalingSpec,
    ScheduledCapacitySpec,
    ServerlessSpec,
    VariantSpec,
)
from mlops_runtime.rollout.capacity_limits import least, takes_key
from mlops_runtime.rollout.fleet_capacity import capacity_problems

Day = Literal["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
WORKDAYS: tuple[Day, ...] = get_args(Day)[:5]
# in cron's order: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
_DAYS: tuple[Day, ...] = ("SUN", *get_args(Day)[:6])

VARIANT = "AllTraffic"
_INSTANCE_TYPE = r"ml\.[a-z0-9-]+\.[a-z0-9]+"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
_MAXIMUM_COUNT = 1000


@checked("InvalidScaling")
@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledCapacity:
    """A scheduled action of Application Auto Scaling: bounds of a fleet from a scheduled time on.

    Args:
        name: Name of the schedule, unique in its fleet.
        schedule: When the bounds take effect, a cron expression such as ``cron(0 19 ? * MON-FRI *)``.
        min_capacity: Minimum number of instances; 0 only for asynchronous endpoints.
        max_capacity: Maximum number of instances.
        time_zone: IANA name of the time zone. Default: UTC.

    See: https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html

    Example:
        >>> ScheduledCapacity(name="Night", schedule="cron(0 20 * * ? *)", min_capacity=1, max_capacity=1).time_zone
        'UTC'
    """

    name: str
    schedule: str
    min_capacity: int
    max_capacity: int
    time_zone: str = "UTC"

    def to_spec(self) -> ScheduledCapacitySpec:
        """Convert to the form stored in the serving spec."""
        return ScheduledCapacitySpec(
            name=self.name,
            schedule=self.schedule,
            minimum=self.min_capacity,
            maximum=self.max_capacity,
            timezone=self.time_zone,
        )


@checked("InvalidScaling")
@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Scaling of a fleet by load, by schedule, or both. The bounds apply to each variant.

    Args:
        min_capacity: Minimum number of instances; 0 only for asynchronous endpoints.
        max_capacity: Maximum number of instances.
        target_invocations: Target of calls per instance and minute of a real-time fleet. Default: no scaling by calls.
        target_backlog: Target of queued requests per instance of an asynchronous fleet. Default: no scaling by backlog.
        scale_in_cooldown: Wait after a scale-in. Default: five minutes.
        scale_out_cooldown: Wait after a scale-out. Default: one minute.
        schedules: Scheduled bounds; ``off_hours`` returns such. Default: none.

    Raises:
        ValidationError: If both ``target_invocations`` and ``target_backlog`` are given; an endpoint publishes one of the metrics.

    Example:
        >>> Scaling(min_capacity=2, max_capacity=8, target_invocations=600).max_capacity
        8
    """

    min_capacity: int
    max_capacity: int
    target_invocations: float | None = None
    target_backlog: float | None = None
    scale_in_cooldown: cdk.Duration = field(default_factory=lambda: cdk.Duration.minutes(5))
    scale_out_cooldown: cdk.Duration = field(default_factory=lambda: cdk.Duration.minutes(1))
    schedules: Sequence[ScheduledCapacity] = ()

    def __post_init__(self) -> None:
        if self.target_invocations is not None and self.target_backlog is not None:
            raise ValidationError(
                "InvalidScaling",
                [
                    f"a fleet scales by calls or by backlog, got target_invocations {self.target_invocations} and target_backlog "
                    f"{self.target_backlog}; give target_invocations for real-time endpoints, target_backlog for asynchronous ones"
                ],
            )

    def to_spec(self) -> ScalingSpec:
        """Convert to the form stored in the serving spec."""
        is_queue = self.target_backlog is not None
        return ScalingSpec(
            minimum=self.min_capacity,
            maximum=self.max_capacity,
            target=self.target_backlog if is_queue else self.target_invocations,
            metric="BACKLOG_PER_INSTANCE" if is_queue else "INVOCATIONS_PER_INSTANCE",
            scale_in_cool_down=int(self.scale_in_cooldown.to_seconds(integral=False)),
            scale_out_cool_down=int(self.scale_out_cooldown.to_seconds(integral=False)),
            schedules=tuple(schedule.to_spec() for schedule in self.schedules),
        )


@checked("InvalidOffHours")
def off_hours(
    *,
    min_capacity: int,
    max_capacity: int,
    start: int = 19,
    end: int = 7,
    days: tuple[Day, ...] = WORKDAYS,
    time_zone: str = "UTC",
    off_min_capacity: int = 1,
    off_max_capacity: int = 1,
) -> tuple[ScheduledCapacity, ScheduledCapacity]:
    """Return the schedules that scale a fleet in outside working hours.

    The fleet also stays small from the evening of the last of ``days`` to the morning of the first, such as over the weekend.

    Args:
        min_capacity: Minimum number of instances in working hours.
        max_capacity: Maximum number of instances in working hours.
        start: Hour at which off hours start, 0 to 23. Default: 19.
        end: Hour at which off hours end, 0 to 23. Default: 7.
        days: Working days. Default: Monday to Friday.
        time_zone: IANA name of the time zone. Default: UTC.
        off_min_capacity: Minimum number of instances in off hours; 0 only for asynchronous endpoints. Default: 1.
        off_max_capacity: Maximum number of instances in off hours. Default: 1.

    Raises:
        ValidationError: If an hour is out of range, both hours are equal, or ``days`` is empty.

    Example:
        >>> off_hours(min_capacity=1, max_capacity=4, time_zone="Europe/Berlin")[0].schedule
        'cron(0 19 ? * MON-FRI *)'
    """
    problems = [
        check_range("start", start, minimum=0, maximum=23),
        check_range("end", end, minimum=0, maximum=23),
        None if days else "days must not be empty; leave off_hours out if there are no working days",
        f"off hours must start and end at different hours, got {start} twice" if start == end else None,
    ]
    raise_problems("InvalidOffHours", problems)
    named = _cron_days(days)
    return (
        ScheduledCapacity(
            name="OffHoursStart",
            schedule=f"cron(0 {start} ? * {named} *)",
            min_capacity=off_min_capacity,
            max_capacity=off_max_capacity,
            time_zone=time_zone,
        ),
        ScheduledCapacity(
            name="OffHoursEnd",
            schedule=f"cron(0 {end} ? * {named} *)",
            min_capacity=min_capacity,
            max_capacity=max_capacity,
            time_zone=time_zone,
        ),
    )


def _cron_days(days: Sequence[Day]) -> str:
    """Return days in cron's syntax and order, three or more consecutive days as a range."""
    numbers = sorted({_DAYS.index(day) for day in days})
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [[f"{_DAYS[run[0]]}-{_DAYS[run[-1]]}"] if len(run) > 2 else [_DAYS[each] for each in run] for run in runs]
    return ",".join(name for part in parts for name in part)


@checked("InvalidCapacity")
@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointVariant:
    """An additional production variant of the same model, for example on another instance type, with a share of the traffic.

    Args:
        name: Name of the variant, not ``AllTraffic``, which is the main variant.
        instance_type: SageMaker instance type, such as ``ml.c7g.large``.
        instance_count: Number of instances.
        weight: Share of the traffic, from 0 to below 1; the main variant gets the remainder.

    Example:
        >>> EndpointVariant(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.1).weight
        0.1
    """

    name: str
    instance_type: str
    instance_count: int
    weight: float

    def to_spec(self) -> VariantSpec:
        """Convert to the form stored in the serving spec."""
        return VariantSpec(
            name=self.name, instance_type=self.instance_type, instance_count=self.instance_count, weight=self.weight
        )


@checked("InvalidCapacity")
@dataclass(frozen=True, slots=True, kw_only=True)
class AsynchronousInference:
    """Concurrency, notification topics and retention of an asynchronous endpoint; see ``EndpointCapacity.asynchronous``."""

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
        """Topics for responses and failures."""
        return [topic for topic in (self.success_topic, self.error_topic) if topic is not None]

    def to_spec(self, *, output: str, failures: str, kms_key: str | None) -> AsynchronousSpec:
        """Convert to the form stored in the serving spec.

        Args:
            output: S3 URI prefix of responses.
            failures: S3 URI prefix of failures.
            kms_key: Key that encrypts both.
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
    """Capacity of an endpoint. Use ``instances``, ``serverless`` or ``asynchronous``.

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
        """Real-time inference on instances.

        Args:
            instance_type: SageMaker instance type, such as ``ml.m5.large``.
            instance_count: Number of instances; SageMaker spreads two or more over Availability Zones.
            scaling: Bounds and targets of scaling. Default: a fixed number of instances.
            variants: Additional production variants of the same model. Default: none.

        Raises:
            ValidationError: If SageMaker would reject the capacity; lists every problem.

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
        """Serverless inference, for infrequent calls that tolerate cold starts.

        Serverless inference supports no VPC, no network isolation, no data capture, no customer managed key of volumes and no
        additional variants; new models are deployed all at once, without deployment guardrails.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html

        Args:
            memory: Memory, 1 to 6 GiB in whole GiB.
            max_concurrency: Maximum number of concurrent calls, 1 to 200.
            provisioned_concurrency: Concurrency that is provisioned, and so without cold starts. Default: none.

        Raises:
            ValidationError: If a value is out of range.

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
        """Asynchronous inference, for large payloads, long processing times, and fleets that scale in to zero.

        Requests and responses are S3 objects; the endpoint defines a bucket for both.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html

        Args:
            instance_type: SageMaker instance type, such as ``ml.m5.large``.
            instance_count: Initial number of instances.
            scaling: Bounds, from 0 on, and targets of scaling. Default: a fixed number of instances.
            max_concurrency: Maximum number of concurrent requests per instance, 1 to 1000. Default: chosen by SageMaker.
            success_topic: Topic notified of responses; the key of an encrypted topic must allow the endpoint's role. Default: none.
            error_topic: Topic notified of failures; its key as for ``success_topic``. Default: none.
            retention: How long requests, responses and failures are kept. Default: 30 days.

        Raises:
            ValidationError: If SageMaker would reject the capacity; lists every problem.

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
        """Whether the capacity is serverless."""
        return self.serverless_config is not None

    @property
    def is_asynchronous(self) -> bool:
        """Whether the capacity is asynchronous."""
        return self.asynchronous_config is not None

    @property
    def smallest_fleet(self) -> int:
        """Smallest number of instances that a variant has, scaling included; limits the canary, which is a part of them."""
        bounds = [] if self.scaling is None else [least(self.scaling.to_spec())]
        return min([self.instance_count, *(variant.instance_count for variant in self.variants), *bounds])

    @property
    def instance_types(self) -> list[str]:
        """Distinct instance types of all variants; empty if serverless."""
        types = [self.instance_type, *(variant.instance_type for variant in self.variants)]
        return [] if self.is_serverless else list(dict.fromkeys(types))

    @property
    def takes_key(self) -> bool:
        """Whether the volumes of all instances can be encrypted with the unit's key."""
        return takes_key(judged(self._alone()))

    def _alone(self) -> ServingSpec:
        """Return a serving spec with placeholders outside the capacity, to check the rules of the capacity."""
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
    """Return the spec with unresolved tokens replaced by values that pass every rule."""
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
    raise_problems("InvalidCapacity", problems)
