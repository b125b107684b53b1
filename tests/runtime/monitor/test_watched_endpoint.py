"""Parsing of times, and the interval of a monitor's runs."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.runtime.monitor import reports

from mlops_runtime.monitor.watched_endpoint import Watched, WatchedError, hour, whole_hour


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2017-08-08T06", "2017-08-08T06:00:00+00:00"),
        ("2017-08-08", "2017-08-08T00:00:00+00:00"),
        ("2017-08-08T06:59:01Z", "2017-08-08T06:00:00+00:00"),
        ("2017-08-08T08:10+02:00", "2017-08-08T06:00:00+00:00"),
    ],
)
def test_a_time_is_read_to_its_hour(text: str, at: str) -> None:
    """UTC is the default."""
    assert hour("--from", text).isoformat() == at


def test_what_is_no_time_is_refused() -> None:
    """The error names the option."""
    with pytest.raises(WatchedError, match="--to must be a time such as 2017-08-08T06 or 2017-08-08, got 'tomorrow'"):
        hour("--to", "tomorrow")
    with pytest.raises(WatchedError, match=r"--from must be a time such as .*, got '0001-01-01T00:00\+14:00'"):
        whole_hour("--from", "0001-01-01T00:00+14:00")


def test_a_span_begins_and_ends_with_an_hour() -> None:
    """Rejects a span within an hour instead of truncating it."""
    assert whole_hour("--from", "2017-08-08T08:00+02:00").isoformat() == "2017-08-08T06:00:00+00:00"
    for text in ("2017-08-08T06:30", "2017-08-08T06:00:01Z", "2017-08-08T06:00+05:30"):
        with pytest.raises(
            WatchedError, match=r"--from must be a whole hour, UTC, got '2017-08-08T06.*; use 2017-08-08T0"
        ):
            whole_hour("--from", text)


@pytest.mark.parametrize(
    ("back", "every"),
    [
        ([0, 168, 336, 504], 168),
        ([0, 1, 168, 336, 504], 168),  # one manual run
        ([0, 1, 2, 3, 168, 336, 504], 168),  # several manual runs
        ([0, 24, 29, 48, 72], 24),
        ([0, 1, 2, 3, 60, 61], 1),  # disabled for a while
        ([0], None),
        ([0, 1], None),  # either may be manual
        ([0, 1, 168], None),
    ],
)
def test_it_is_decided_as_often_as_by_the_schedule(back: list[int], every: int | None) -> None:
    """Manual runs in between do not change the interval."""
    newest = reports.report_of(8, reports.QUIET)
    end = datetime.fromisoformat(newest.window_until)
    past = [replace(newest, window_until=(end - timedelta(hours=hours)).isoformat()) for hours in back]

    class Shelf:
        def history(self, report: object, *, most: int) -> list[object]:
            assert report is past[0]
            return [*past[1:]][:most]

    archive: Any = Shelf()
    found = Watched(endpoint="e", archive=archive, rollout=archive, captured=None, now=end)

    assert found.period_hours(past[0]) == every
