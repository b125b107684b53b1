"""Hours of windows and of object keys."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.monitor.timeline import START

from mlops_runtime.contracts import ContractError
from mlops_runtime.monitor.window import HOUR, Inventory, Window, event_time, hour_of, late_objects, stamp

NOW = datetime(2017, 8, 14, 0, 15, tzinfo=UTC)


def test_windows_follow_one_another() -> None:
    """Runs that start minutes late neither share nor skip an hour."""
    first = Window.before(NOW, 168)
    second = Window.before(datetime(2017, 8, 21, 0, 59, tzinfo=UTC), 168)
    assert first.end == second.start
    elsewhere = datetime(2017, 8, 14, 2, 15, tzinfo=timezone(timedelta(hours=2)))
    assert Window.before(elsewhere, 168) == first
    assert (first.hours, first.extended(24).start) == (168, datetime(2017, 8, 6, tzinfo=UTC))


def test_an_hour_whose_captures_may_still_land_is_not_decided() -> None:
    """A run on the hour, or shortly after, leaves the newest hour to the next run."""
    for minute, end in ((0, 23), (9, 23), (10, 0), (59, 0)):
        assert Window.before(datetime(2017, 8, 14, 0, minute, tzinfo=UTC), 1).end.hour == end


@pytest.mark.parametrize("event", [{}, {"time": "foo"}, {"time": None}, {"time": 7}])
def test_fails_for_an_event_without_a_time(event: dict[str, object]) -> None:
    """The error shows the expected input of a manual run."""
    with pytest.raises(ContractError, match=r"^the event must carry a time, .* got (None|'foo'|7)$"):
        event_time(event)


def test_a_time_without_a_zone_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's time zone does not matter."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert Window.before(NOW.replace(tzinfo=None), 24) == Window.before(NOW, 24)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_newest_hours_are_never_more_than_the_window() -> None:
    """A window shorter than the time between runs is new as a whole."""
    window = Window.before(NOW, 24)
    assert window.newest(6) == Window(window.end - 6 * HOUR, window.end)
    assert window.newest(168) == window


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))
def test_a_key_gives_back_its_hour(moment: datetime) -> None:
    """The hour of a captured object is read from its key."""
    hour = moment.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    assert hour_of(f"p/{hour:%Y/%m/%d/%H}/a.jsonl", "p/") == hour
    assert datetime.fromisoformat(stamp(hour)) == hour


@pytest.mark.parametrize(
    "key", ["p/2017/08/07/xx/a", "p/2017/02/30/01/a", "p/2017/08/07/01", "p/", "p/2017-08-07/01/a"]
)
def test_other_keys_have_none(key: str) -> None:
    """Other layouts, invalid days and hours, and folders without an object have none."""
    assert hour_of(key, "p/") is None


ARRIVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), max_size=40)


def seen(arrivals: list[tuple[int, int]], at: int, looked_at: Window) -> Inventory:
    """Return the objects that a run at an hour sees, given their hours and delays."""
    hours: dict[str, int] = {}
    for hour, delay in arrivals:
        time = START + hour * HOUR
        if hour + delay < at and looked_at.holds(time):
            hours[stamp(time)] = hours.get(stamp(time), 0) + 1
    return Inventory(since=stamp(looked_at.start), until=stamp(looked_at.end), hours=hours)


@given(ARRIVALS, st.integers(1, 12))
def test_each_object_is_in_time_or_late_once(arrivals: list[tuple[int, int]], every: int) -> None:
    """Runs every few hours classify every object exactly once, in time or late."""
    before, reported, in_time = None, 0, 0
    for at in range(every, 120, every):
        window = Window(START, START + at * HOUR)
        now = seen(arrivals, at, window)
        reported += late_objects(before, now)
        own = [hour for hour in now.hours if before is None or hour >= before.until]
        in_time += sum(now.hours[hour] for hour in own)
        before = now
    arrived = [arrival for arrival in arrivals if sum(arrival) < range(every, 120, every)[-1]]
    assert reported + in_time == len(arrived)


def test_an_object_that_is_removed_is_not_late() -> None:
    """Counts removed by a lifecycle rule are not reported."""
    hour = "2017-08-07T00:00:00Z"
    before = Inventory(since=hour, until="2017-08-08T00:00:00Z", hours={hour: 3})
    assert late_objects(before, Inventory(since=hour, until="2017-08-09T00:00:00Z", hours={})) == 0
    assert late_objects(None, before) == 0
