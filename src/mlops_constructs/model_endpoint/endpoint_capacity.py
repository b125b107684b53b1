"""On what an endpoint runs: instances, serverless or asynchronous variants, and how they scale."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import aws_cdk as cdk
from aws_cdk import aws_sns as sns

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_pattern, check_range, is_known
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
# as cron counts them: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
_DAYS: tuple[Day, ...] = ("SUN", *get_args(Day)[:6])

VARIANT = "AllTraffic"
_INSTANCE_TYPE = r"ml\.[a-z0-9-]+\.[a-z0-9]+"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
_MAXIMUM_COUNT = 1000


@checked("InvalidScaling")
@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledCapacity:
    """Bounds of a fleet from a time on, as Application Auto Scaling keeps them.

    Args:
        name: Name of the schedule, one of its own in each fleet.
        schedule: When they begin, a cron expression such as ``cron(0 19 ? * MON-FRI *)``.
        min_capacity: Fewest instances; 0 only for asynchronous endpoints.
        max_capacity: Most instances.
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
        """Return it as the serving spec carries it."""
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
    """Let a fleet follow its load, a clock, or both. Bounds hold for each variant by itself.

    Args:
        min_capacity: Fewest instances; only an asynchronous endpoint may have none.
        max_capacity: Most instances.
        target_invocations: Calls an instance and minute that a real-time fleet is to have. Default: it follows no calls.
        target_backlog: Requests in the queue an instance that an asynchronous fleet is to have. Default: it follows no queue.
        scale_in_cooldown: How long to wait after instances were stopped. Default: five minutes.
        scale_out_cooldown: How long to wait after instances were started. Default: one minute.
        schedules: Bounds from a time on; ``off_hours`` makes them. Default: none.

    Raises:
        ValidationError: If it follows both calls and a queue; an endpoint has one of them.

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
                    f"a fleet follows calls or a queue, got target_invocations {self.target_invocations} and target_backlog "
                    f"{self.target_backlog}; real-time endpoints have calls, asynchronous ones a queue"
                ],
            )

    def to_spec(self) -> ScalingSpec:
        """Return it as the serving spec carries it."""
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
    """Return the schedules that shrink a fleet when work ends and open it again when work begins.

    From the end of the last of ``days`` to the beginning of the first, so over the weekend, it stays small.

    Args:
        min_capacity: Fewest instances while work is done.
        max_capacity: Most instances while work is done.
        start: Hour at which off hours start, 0 to 23. Default: 19.
        end: Hour at which they end, 0 to 23. Default: 7.
        days: Days on which work is done. Default: Monday to Friday.
        time_zone: IANA name of the time zone. Default: UTC.
        off_min_capacity: Fewest instances in off hours; 0 only for asynchronous endpoints. Default: 1.
        off_max_capacity: Most instances in off hours. Default: 1.

    Raises:
        ValidationError: If an hour or the days are not possible.

    Example:
        >>> off_hours(min_capacity=1, max_capacity=4, time_zone="Europe/Berlin")[0].schedule
        'cron(0 19 ? * MON-FRI *)'
    """
    problems = [
        check_range("start", start, minimum=0, maximum=23),
        check_range("end", end, minimum=0, maximum=23),
        None if days else "days must not be empty; leave off_hours out where no work is done",
        f"off hours must start and end at different hours, got {start} twice" if start == end else None,
    ]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ValidationError("InvalidOffHours", found)
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
    """Return days in the week's order as cron writes them: three or more in a row as a range."""
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
        """Topics for responses and failures."""
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
            success_topic: Topic for responses; the key of an encrypted topic must admit the endpoint's role. Default:
                none.
            error_topic: Topic for failures, likewise. Default: none.
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
        """Return a spec with only this capacity, to check the rules of the capacity alone."""
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
