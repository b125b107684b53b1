"""Between which bounds a fleet scales, what it follows, and when its bounds change."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk

from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_pattern, check_range
from mlops_runtime.contracts.serving import ScalingSpec, ScheduledCapacity

_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_DAY = f"({'|'.join(_WEEKDAYS)})"
_DAYS = rf"{_DAY}([-,]{_DAY})*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Let a fleet follow its load, a clock, or both. Bounds hold for each variant by itself.

    Args:
        minimum: Fewest instances; only an asynchronous endpoint may have none.
        maximum: Most instances.
        target_invocations: Calls an instance and minute that a real-time fleet is to have. Default: it follows no calls.
        target_backlog: Requests in the queue an instance that an asynchronous fleet is to have. Default: it follows no queue.
        scale_in_cool_down: How long to wait after instances were stopped. Default: five minutes.
        scale_out_cool_down: How long to wait after instances were started. Default: one minute.
        schedules: Bounds from a time on; ``off_hours`` makes them. Default: none.

    Raises:
        ValidationError: If it follows both calls and a queue, of which an endpoint has one.

    Example:
        >>> Scaling(minimum=2, maximum=8, target_invocations=600).maximum
        8
    """

    minimum: int
    maximum: int
    target_invocations: float | None = None
    target_backlog: float | None = None
    scale_in_cool_down: cdk.Duration = field(default_factory=lambda: cdk.Duration.minutes(5))
    scale_out_cool_down: cdk.Duration = field(default_factory=lambda: cdk.Duration.minutes(1))
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
            minimum=self.minimum,
            maximum=self.maximum,
            target=self.target_backlog if is_queue else self.target_invocations,
            metric="BACKLOG_PER_INSTANCE" if is_queue else "INVOCATIONS_PER_INSTANCE",
            scale_in_cool_down=int(self.scale_in_cool_down.to_seconds()),
            scale_out_cool_down=int(self.scale_out_cool_down.to_seconds()),
            schedules=tuple(self.schedules),
        )


def off_hours(
    *,
    minimum: int,
    maximum: int,
    start: int = 19,
    end: int = 7,
    days: str = "MON-FRI",
    timezone: str = "UTC",
    off_minimum: int = 1,
    off_maximum: int = 1,
) -> tuple[ScheduledCapacity, ScheduledCapacity]:
    """Return the schedules that shrink a fleet when work ends and open it again when work begins.

    From the end of the last of ``days`` to the beginning of the first, so over the weekend, it stays small.

    Args:
        minimum: Fewest instances while work is done.
        maximum: Most instances while work is done.
        start: Hour at which off hours start, 0 to 23. Default: 19.
        end: Hour at which they end, 0 to 23. Default: 7.
        days: Days on which work is done, as cron writes them. Default: ``MON-FRI``.
        timezone: IANA name of the time zone. Default: UTC.
        off_minimum: Fewest instances in off hours; 0 only for asynchronous endpoints. Default: 1.
        off_maximum: Most instances in off hours. Default: 1.

    Raises:
        ValidationError: If an hour or the days are not possible.

    Example:
        >>> off_hours(minimum=1, maximum=4, timezone="Europe/Berlin")[0].schedule
        'cron(0 19 ? * MON-FRI *)'
    """
    problems = [
        check_range("start", start, minimum=0, maximum=23),
        check_range("end", end, minimum=0, maximum=23),
        check_pattern("days", days, pattern=_DAYS, allowed="days such as 'MON-FRI' or 'MON,WED'"),
        f"off hours must start and end at different hours, got {start} twice" if start == end else None,
    ]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ValidationError("InvalidOffHours", found)
    return (
        ScheduledCapacity(
            name="OffHoursStart",
            schedule=f"cron(0 {start} ? * {days} *)",
            minimum=off_minimum,
            maximum=off_maximum,
            timezone=timezone,
        ),
        ScheduledCapacity(
            name="OffHoursEnd",
            schedule=f"cron(0 {end} ? * {days} *)",
            minimum=minimum,
            maximum=maximum,
            timezone=timezone,
        ),
    )
