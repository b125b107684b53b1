"""When calls are expected, so that silence at these hours is an alarm."""

from dataclasses import dataclass
from typing import Literal, get_args

import aws_cdk as cdk

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_names, check_whole

Day = Literal["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
DAYS: tuple[Day, ...] = get_args(Day)


@checked("InvalidExpectedTraffic")
@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTraffic:
    """Hours of the week at which an endpoint is called. All times are UTC, which is what CloudWatch reads off its data.

    Args:
        start: First hour of a day, 0 to 23. Default: 0.
        end: Hour before which it ends, 1 to 24; up to ``start`` it is that of the next day. Default: 24.
        days: Days on which the hours lie, as the clock has them. Default: all seven.
        max_silence: How long, of these hours, without any call is an alarm: whole hours, up to two days. Default: two hours.

    Raises:
        ValidationError: With every value that is not possible.

    Example:
        >>> ExpectedTraffic(start=7, end=20).expression("calls")
        'IF((HOUR(TIME_SERIES(1)) >= 7 AND HOUR(TIME_SERIES(1)) < 20), FILL(calls, 0), 1)'
    """

    start: int = 0
    end: int = 24
    days: tuple[Day, ...] = DAYS
    max_silence: cdk.Duration | None = None

    def __post_init__(self) -> None:
        silence = cdk.Duration.hours(2) if self.max_silence is None else self.max_silence
        misnamed = check_names("days", self.days, example="('MON', 'TUE')")
        unknown = [] if misnamed else sorted(set(self.days) - set(DAYS))
        problems = [
            check_whole("start", self.start, minimum=0, maximum=23),
            check_whole("end", self.end, minimum=1, maximum=24),
            f"end must differ from start, got {self.end} for both; leave both out for the whole day"
            if self.end == self.start
            else None,
            misnamed,
            f"days must be of {', '.join(DAYS)}, got {', '.join(map(repr, unknown))}" if unknown else None,
            None
            if self.days or misnamed
            else "days must not be empty; leave expected_traffic out where no call is expected",
            check_duration("max_silence", silence, minimum=cdk.Duration.hours(1), maximum=cdk.Duration.days(2)),
        ]
        found = [problem for problem in problems if problem is not None]
        if not found and silence.to_seconds(integral=False) % 3600:
            found.append(
                f"max_silence must be whole hours, got {silence.to_human_string()}; calls are summed by the hour"
            )
        if found:
            raise ValidationError("InvalidExpectedTraffic", found)

    @property
    def silent_hours(self) -> int:
        """Expected hours in a row without any call that are an alarm."""
        return 2 if self.max_silence is None else int(self.max_silence.to_hours())

    def expression(self, calls: str) -> str:
        """Return metric math: the calls of the hours at which some are expected, 0 without any, and 1 at all other hours.

        Where there is no data at all, which FILL may leave missing, missing data breach.

        See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html (date and time functions)

        Args:
            calls: Id of the metric of calls.
        """
        hour, day = "HOUR(TIME_SERIES(1))", "DAY(TIME_SERIES(1))"
        joined = "AND" if self.start < self.end else "OR"
        parts = []
        if (self.start, self.end) != (0, 24):
            parts.append(f"({hour} >= {self.start} {joined} {hour} < {self.end})")
        if set(self.days) != set(DAYS):
            numbers = sorted(DAYS.index(name) + 1 for name in set(self.days))
            parts.append("(" + " OR ".join(f"{day} == {number}" for number in numbers) + ")")
        known = f"FILL({calls}, 0)"
        return f"IF({' AND '.join(parts)}, {known}, 1)" if parts else known
