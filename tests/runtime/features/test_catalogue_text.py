"""Constraints and durations in words."""

from datetime import UTC, date, datetime, timedelta

import pytest

from mlops_runtime.features.catalogue_text import constraint_text, duration_text, ttl_text
from mlops_runtime.features.group import Feature


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        (Feature("a", "long", "a"), ""),
        (Feature("a", "long", "a", minimum=0), "at least 0"),
        (Feature("a", "double", "a", maximum=1.5), "at most 1.5"),
        (Feature("a", "double", "a", minimum=0, maximum=1), "0 to 1"),
        (Feature("a", "date", "a", minimum=date(2017, 1, 2)), "at least 2017-01-02"),
        (Feature("a", "timestamp", "a", maximum=datetime(2017, 1, 2, tzinfo=UTC)), "at most 2017-01-02T00:00:00+00:00"),
        (Feature("a", "string", "a", allowed=("x", "y"), pattern="[xy]"), "one of x, y; matches [xy]"),
        (Feature("a", "boolean", "a", allowed=(True,)), "one of True"),
    ],
)
def test_constraints_are_words(feature: Feature, text: str) -> None:
    """Each kind, and several."""
    assert constraint_text(feature) == text


@pytest.mark.parametrize(
    ("span", "text", "rounded"),
    [
        (timedelta(0), "0 seconds", "0 seconds"),
        (timedelta(seconds=61), "1 minute 1 second", "1 minute 1 second"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4), "1 day 2 hours 3 minutes 4 seconds", "1 day 2 hours"),
        (timedelta(days=9, seconds=5), "9 days 5 seconds", "9 days"),
        (timedelta(hours=-3), "3 hours", "3 hours"),
        (timedelta(milliseconds=900), "0 seconds", "0 seconds"),
    ],
)
def test_durations_are_exact_or_in_two_units(span: timedelta, text: str, rounded: str) -> None:
    """Declared limits are exact, ages are looked at."""
    assert duration_text(span) == text
    assert duration_text(span, most=2) == rounded


def test_times_to_live_name_their_bound() -> None:
    """The usual one is not worth a word."""
    assert ttl_text(timedelta(days=2), "inclusive") == "2 days"
    assert ttl_text(timedelta(hours=36), "exclusive") == "1 day 12 hours, the last instant excluded"
