"""Declared freezes become instants, or named problems."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.business_unit.freeze_calendar import Freeze, read_freezes
from mlops_runtime.contracts import to_dict


def _freeze(name: str = "peak", start: str = "2026-11-20", end: str = "2026-12-01", **more: str) -> Freeze:
    return Freeze(name=name, start=start, end=end, **{"time_zone": "Europe/Berlin", **more})


def test_local_midnight_is_an_instant_in_utc() -> None:
    """Functions need no time zone data: daylight saving time is resolved here."""
    spec, problems = read_freezes([_freeze(start="2026-10-01", end="2026-11-01T12:30")])

    assert problems == []
    assert to_dict(spec)["windows"] == [
        {"name": "peak", "start": "2026-09-30T22:00:00Z", "end": "2026-11-01T11:30:00Z"}
    ]


def test_an_offset_needs_no_zone() -> None:
    """Both ends may have different offsets."""
    freeze = Freeze(name="peak", start="2026-11-20T00:00+01:00", end="2026-12-01T00:00Z")

    spec, problems = read_freezes([freeze])

    assert problems == []
    assert (spec.windows[0].start, spec.windows[0].end) == (
        datetime(2026, 11, 19, 23, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
    )


def test_windows_come_in_order_of_time() -> None:
    """For any order of declaration; adjacent windows do not overlap."""
    spec, problems = read_freezes([_freeze("b", "2026-12-01", "2026-12-02"), _freeze("a")])

    assert problems == []
    assert [window.name for window in spec.windows] == ["a", "b"]


def test_every_problem_is_named_at_once() -> None:
    """With the freeze, the value and the fix."""
    _, problems = read_freezes(
        [
            _freeze(" "),
            Freeze(name="naive", start="2026-11-20", end="2026-11-21"),
            _freeze("both", start="2026-11-20T00:00+01:00"),
            _freeze("backwards", "2026-03-02", "2026-03-01"),
            _freeze("nonsense", "tomorrow"),
            _freeze("nowhere", time_zone="Europe/Atlantis"),
            _freeze("folder", time_zone="Europe"),
            _freeze("far", "9999-12-31T23:00", "9999-12-31T23:30", time_zone="America/New_York"),
        ]
    )

    assert problems == [
        "name must be 1 to 64 printable characters, got ' '",
        "'naive': start must have a time zone or an offset, got '2026-11-20'; "
        "give an offset such as '2026-11-20T00:00+01:00', or time_zone",
        "'naive': end must have a time zone or an offset, got '2026-11-21'; "
        "give an offset such as '2026-11-20T00:00+01:00', or time_zone",
        "'both': start must have an offset or a time_zone, got both: '2026-11-20T00:00+01:00' and 'Europe/Berlin'",
        "'backwards': end must be after start '2026-03-02', got '2026-03-01'",
        "'nonsense': start must be an ISO 8601 date or time such as '2026-11-20T00:00+01:00', got 'tomorrow'",
        "'nowhere': time_zone must be a name of the IANA database such as 'Europe/Berlin', got 'Europe/Atlantis'",
        "'folder': time_zone must be a name of the IANA database such as 'Europe/Berlin', got 'Europe'",
        "'far': start must be in the years 1 to 9999 in UTC, got '9999-12-31T23:00'",
        "'far': end must be in the years 1 to 9999 in UTC, got '9999-12-31T23:30'",
    ]


@pytest.mark.parametrize(
    ("start", "end"), [("2026-03-29T02:30", "2026-04-01"), ("2026-10-01", "2026-10-25T02:30")], ids=["gap", "twice"]
)
def test_a_time_that_is_none_or_two_is_refused(start: str, end: str) -> None:
    """At a change of clocks only an offset is unambiguous."""
    _, problems = read_freezes([_freeze(start=start, end=end)])

    (problem,) = problems
    assert problem.endswith("does not exist or is ambiguous in Europe/Berlin; give an offset instead of time_zone")


def test_overlaps_are_named() -> None:
    """Each with the one that reaches furthest into it, also across a shorter one in between."""
    _, problems = read_freezes(
        [
            _freeze("long", "2026-11-01", "2026-12-31"),
            _freeze("short", "2026-11-05", "2026-11-06"),
            _freeze("late", "2026-12-30", "2027-01-02"),
        ]
    )

    assert problems == [
        "'long' and 'short' must not overlap; join them or move one",
        "'long' and 'late' must not overlap; join them or move one",
    ]


def test_a_name_stands_once() -> None:
    """The name of an active freeze must be unique."""
    _, problems = read_freezes([_freeze(), _freeze(start="2027-11-20", end="2027-12-01")])

    assert problems == ["name must be given once, got 'peak' twice"]


def test_a_season_returns_every_year_that_is_named() -> None:
    """An end before the start is in the next year."""
    freezes = Freeze.yearly(name="peak", years=[2026, 2028], start="11-15", end="01-02", time_zone="Europe/Berlin")

    spec, problems = read_freezes(freezes)

    assert problems == []
    assert [(w.name, w.end.year) for w in spec.windows] == [("peak 2026", 2027), ("peak 2028", 2029)]


def test_a_day_that_a_year_does_not_have_is_named() -> None:
    """February 29 of a common year."""
    _, problems = read_freezes(Freeze.yearly(name="leap", years=[2027], start="02-29", end="03-02", time_zone="UTC"))

    assert problems == [
        "'leap 2027': start must be an ISO 8601 date or time such as '2026-11-20T00:00+01:00', got '2027-02-29'"
    ]


@given(
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo"]),
    moment=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2037, 1, 1)),
    length=st.timedeltas(min_value=timedelta(days=2), max_value=timedelta(days=90)),
)
def test_a_local_time_reads_back_from_its_instant(zone: str, moment: datetime, length: timedelta) -> None:
    """An accepted instant is shown there as the declared local time."""
    start, end = moment.isoformat(), (moment + length).isoformat()

    spec, problems = read_freezes([_freeze(start=start, end=end, time_zone=zone)])

    if problems:
        assert all("is ambiguous" in problem for problem in problems)
    else:
        window = spec.windows[0]
        assert window.start.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat() == start
        assert window.end.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat() == end
        assert window.start < window.end
