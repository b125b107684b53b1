"""Between which bounds a fleet scales, what it follows, and when its bounds change."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import aws_cdk as cdk

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_names, check_range
from mlops_runtime.contracts.serving import ScalingSpec, ScheduledCapacitySpec

Day = Literal["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
WORKDAYS: tuple[Day, ...] = get_args(Day)[:5]
# as cron counts them: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
_DAYS: tuple[Day, ...] = ("SUN", *get_args(Day)[:6])


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
        ValidationError: If it follows both calls and a queue, of which an endpoint has one.

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
        *_day_problems(days),
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


def _day_problems(days: Sequence[Day]) -> list[str | None]:
    misnamed = check_names("days", days, example="('MON', 'TUE')")
    if misnamed is not None:
        return [misnamed]
    unknown = ", ".join(repr(day) for day in days if day not in _DAYS)
    return [
        f"days must be of {', '.join(_DAYS)}, got {unknown}" if unknown else None,
        None if days else "days must not be empty; leave off_hours out where no work is done",
    ]


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
