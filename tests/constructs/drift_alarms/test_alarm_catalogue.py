"""Hours with expected calls, as metric math."""

from typing import Any

import aws_cdk as cdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_constructs import ExpectedTraffic, ValidationError
from mlops_constructs.drift_alarms.alarm_catalogue import DAYS
from mlops_local import alarm_evaluation

_HOUR = 3600
_MONDAY = 1502064000  # 2017-08-07T00:00:00Z


@given(
    start=st.integers(0, 23),
    end=st.integers(1, 24),
    days=st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    calls=st.lists(st.sampled_from([None, 0.0, 3.0]), min_size=168, max_size=168),
)
def test_it_is_the_calls_at_the_expected_hours_of_a_week_and_one_at_all_others(
    start: int, end: int, days: list[Any], calls: list[float | None]
):
    """Hours from ``start`` until before ``end``, past midnight if ``end`` is smaller, on the named days."""
    if start == end:
        return
    expression = ExpectedTraffic(start=start, end=end, days=tuple(days)).expression("calls")
    stat = {"Metric": {"Namespace": "N", "MetricName": "Calls"}, "Period": _HOUR, "Stat": "Sum"}
    queries = [{"Id": "e", "Expression": expression}, {"Id": "calls", "MetricStat": stat, "ReturnData": False}]

    found = alarm_evaluation.evaluate(queries, lambda _: calls, [_MONDAY + _HOUR * hour for hour in range(168)])

    for hour, (got, made) in enumerate(zip(found, calls, strict=True)):
        day, of_day = DAYS[hour // 24], hour % 24
        is_expected = day in days and (start <= of_day < end if start < end else of_day >= start or of_day < end)
        assert got == ((0.0 if made is None else made) if is_expected else 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 24}, "start must be a whole number from 0 to 23, got 24"),
        ({"start": 6, "end": 6}, "end must differ from start, got 6 for both"),
        ({"days": ("MON", "HOLIDAY")}, "days must be a tuple of 'MON', .* or 'SUN', got .*'HOLIDAY'"),
        ({"days": "MON"}, r"days must be a tuple of .*, got 'MON'; write \('MON',\) for a tuple of one"),
        ({"days": ()}, "days must not be empty"),
        ({"max_silence": cdk.Duration.days(3)}, "max_silence must be from 1 hour to 2 days, got 3 days"),
        ({"max_silence": cdk.Duration.minutes(90)}, "max_silence must be whole hours, got 1 hour 30 minutes"),
    ],
)
def test_fails_on_hours_that_are_none(arguments: dict[str, Any], message: str):
    """Errors name the allowed values."""
    with pytest.raises(ValidationError, match=message):
        ExpectedTraffic(**arguments)
