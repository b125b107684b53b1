"""Late objects: each is told by one report."""

from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.monitor.timeline import START

from mlops_runtime.monitor.inventory import Inventory, late_objects
from mlops_runtime.monitor.window import HOUR, Window, stamp

ARRIVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), max_size=40)


def seen(arrivals: list[tuple[int, int]], at: int, looked_at: Window) -> Inventory:
    """Return what a run at an hour sees of objects that have an hour and arrive some hours later."""
    hours: dict[str, int] = {}
    for hour, delay in arrivals:
        time = START + hour * HOUR
        if hour + delay < at and looked_at.holds(time):
            hours[stamp(time)] = hours.get(stamp(time), 0) + 1
    return Inventory(since=stamp(looked_at.start), until=stamp(looked_at.end), hours=hours)


@given(ARRIVALS, st.integers(1, 12))
def test_each_object_is_in_time_or_late_once(arrivals: list[tuple[int, int]], every: int) -> None:
    """Runs every few hours that look back over everything: in time and late ones together are all of them."""
    before, told, in_time = None, 0, 0
    for at in range(every, 120, every):
        window = Window(START, START + at * HOUR)
        now = seen(arrivals, at, window)
        told += late_objects(before, now)
        own = [hour for hour in now.hours if before is None or hour >= before.until]
        in_time += sum(now.hours[hour] for hour in own)
        before = now
    arrived = [arrival for arrival in arrivals if sum(arrival) < range(every, 120, every)[-1]]
    assert told + in_time == len(arrived)


def test_an_object_that_is_removed_is_not_late() -> None:
    """A lifecycle rule takes old counts away; that is nothing to tell."""
    hour = "2017-08-07T00:00:00Z"
    before = Inventory(since=hour, until="2017-08-08T00:00:00Z", hours={hour: 3})
    assert late_objects(before, Inventory(since=hour, until="2017-08-09T00:00:00Z", hours={})) == 0
    assert late_objects(None, before) == 0
