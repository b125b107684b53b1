"""When monitoring schedules are due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_local.sagemaker.monitoring_schedules import _offset, due_after


@pytest.mark.parametrize(
    ("expression", "hours"),
    [
        ("cron(0 * ? * * *)", list(range(24))),
        ("cron(0 5 ? * * *)", [5]),
        ("cron(0 0/6 ? * * *)", [0, 6, 12, 18]),
        ("cron(0 17/12 ? * * *)", [17]),
        ("cron(0 4/12 ? * * *)", [4, 16]),
    ],
)
def test_a_day_has_the_hours_that_the_expression_names(expression: str, hours: list[int]) -> None:
    """Steps start again each day, like cron's."""
    start = datetime(2017, 8, 7, tzinfo=UTC)
    at, found = start.timestamp() - 1, []
    while (due := due_after(expression, at)) < start + timedelta(days=1):
        found.append(due.hour)
        at = due.timestamp()

    assert found == hours


@given(st.floats(0, 4e9))
def test_the_next_hour_is_full_and_later(after: float) -> None:
    """By at most an hour."""
    due = due_after("cron(0 * ? * * *)", after)

    assert due.minute == due.second == due.microsecond == 0
    assert 0 < due.timestamp() - after <= 3600


@pytest.mark.parametrize(
    ("text", "hours"), [("-PT25H", 25), ("-P8D", 192), ("-P1DT1H30M", 25.5), (None, 7), ("P0D", 0)]
)
def test_offsets_are_durations(text: str | None, hours: float) -> None:
    """ISO 8601, with or without the minus sign."""
    assert _offset(text, timedelta(hours=7)) == timedelta(hours=hours)
