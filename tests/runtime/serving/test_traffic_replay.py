"""Rows replayed at their own times, on a clock that only the replay moves."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops_runtime.labels.label_upload import LabelUpload
from mlops_runtime.serving.row_calls import AnsweredCall
from mlops_runtime.serving.traffic_replay import (
    ReplayCounts,
    ReplayError,
    RowsOfHour,
    TrafficReplay,
    plan_hours,
    shifted,
)

START = datetime(2017, 8, 7, 5, 20, tzinfo=UTC)
TIMES = ["2017-08-07T06:10", "2017-08-07T06:05", "2017-08-08T09:00"]


def _at(day: int, hour: int) -> datetime:
    return datetime(2017, 8, day, hour, tzinfo=UTC)


class World:
    """A cloud with a clock, an endpoint that rejects negative rows, and labels; ``log`` has the events with their times."""

    def __init__(self, status: str = "200") -> None:
        self.at, self.status, self.log = START, status, list[tuple[Any, ...]]()
        self.seconds = 0.0

    def now(self) -> datetime:
        """Return the time."""
        return self.at

    def move(self, to: datetime) -> None:
        """Move the clock."""
        assert to > self.at
        self.at = to

    def send(
        self, rows: Iterable[Mapping[str, object]], ids: Sequence[str] | None, first: int
    ) -> Iterator[AnsweredCall]:
        """Respond to each row in its own call."""
        for number, row in enumerate(rows):
            self.log.append(("sent", self.at, row["x"], None if ids is None else ids[number], first + number))
            if row["x"] == -1:
                yield AnsweredCall(first=first + number, rows=1, status="400", problem="negative")
            else:
                yield AnsweredCall(first=first + number, rows=1, status=self.status, problem=None)

    def put(
        self, ids: Sequence[str], values: Sequence[Sequence[object]], since: datetime, until: datetime
    ) -> LabelUpload:
        """Store labels."""
        self.log.append(("labels", self.at, list(ids), values, since, until))
        return LabelUpload(rows=len(ids), added=len(ids))

    def wait(self, seconds: float) -> None:
        """Wait in real time."""
        self.log.append(("waited", seconds))
        self.seconds += seconds

    def replay(self, xs: Sequence[float] = (1, 2, 3), **options: Any) -> tuple[ReplayCounts, list[datetime | None]]:
        """Replay three rows; return the counts and the hour after each step."""
        counts = ReplayCounts()
        made = TrafficReplay(
            **{
                "hours": plan_hours(TIMES),
                "rows": [{"x": x} for x in xs],
                "send": self.send,
                "clock": self,
                "is_moved": True,
                "wait": self.wait,
                "real": lambda: self.seconds,
                **options,
            }
        )
        return counts, [each.hour for each in made.run(counts)]


def test_rows_are_sent_in_their_hours() -> None:
    """In time order at the full hour; the clock ends when the last hour is complete."""
    world = World()
    counts, hours = world.replay()
    assert [entry[1:] for entry in world.log] == [
        (_at(7, 6), 2, None, 1),
        (_at(7, 6), 1, None, 2),
        (_at(8, 9), 3, None, 3),
    ]
    assert (counts.rows, counts.calls, counts.answers) == (3, 3, {"200": 3})
    assert hours == [_at(7, 6), _at(8, 9), _at(8, 9)]
    assert world.at == _at(8, 10) + timedelta(minutes=15)


def test_labels_are_put_when_they_are_due() -> None:
    """An hour's labels are put after it and the delay, between later rows; an hour without labels puts nothing."""
    world = World()
    counts, _ = world.replay(ids=["a", "b", "c"], labels=[[10, 20, None]], put=world.put, delay=timedelta(hours=2))
    assert world.log[2] == ("labels", _at(7, 9), ["b", "a"], [[20, 10]], _at(7, 6), _at(7, 7))
    assert [entry[0] for entry in world.log] == ["sent", "sent", "labels", "sent"]
    assert world.at == _at(8, 12) + timedelta(minutes=15)
    assert counts.labels_added == 2


def test_rows_that_are_sent_now_leave_the_clock_alone() -> None:
    """Their labels are put at the end, for calls since the start."""
    world = World()
    world.replay(is_moved=False, ids=["a", "b", "c"], labels=[[1, 2, 3]], put=world.put)
    assert world.at == START
    assert [entry[0] for entry in world.log] == ["sent", "sent", "sent", "labels", "labels"]
    assert world.log[3][4:] == (_at(7, 5), START + timedelta(hours=1))


def test_a_replay_may_be_slow() -> None:
    """At 3,600 seconds a second an hour takes one second."""
    world = World()
    world.replay(speed=3600.0)
    assert [entry[1] for entry in world.log if entry[0] == "waited"] == [1.0, 27.0]


def test_what_is_refused_is_counted() -> None:
    """By status with the first problem of each; the replay continues."""
    counts, _ = World().replay(xs=(1, -1, -1))
    assert counts.answers == {"400": 2, "200": 1}
    assert counts.problems == {"400": "negative"}


def test_fails_where_nothing_of_the_first_hour_is_answered() -> None:
    """An unavailable endpoint does not get a year of rows."""
    with pytest.raises(ReplayError, match=r"no call of the first hour succeeded \(400\): negative"):
        World().replay(xs=(-1, -1, 3))


def test_fails_on_rows_before_the_clock() -> None:
    """It cannot be set back; the error has the fix."""
    world = World()
    world.at = _at(7, 7)
    with pytest.raises(
        ReplayError, match=r"the first row is from 2017-08-07T06, and the cloud's clock is at 2017-08-07T07:00"
    ):
        world.replay()
    assert world.log == []


def test_rows_between_two_times() -> None:
    """Start inclusive, end exclusive; an invalid time is named."""
    assert plan_hours(TIMES, since=_at(8, 0)) == [RowsOfHour(_at(8, 9), (2,))]
    assert plan_hours(TIMES, until=_at(8, 9)) == [RowsOfHour(_at(7, 6), (1, 0))]
    with pytest.raises(ReplayError, match="no row is in the requested period, got 3"):
        plan_hours(TIMES, since=_at(9, 0))
    with pytest.raises(ReplayError, match=r"2 rows have other values \(2: 'soon', 3: 'None'\)"):
        plan_hours(["2017-08-07", "soon", None])


def test_a_shift_keeps_the_hours_of_the_week() -> None:
    """By whole weeks to the first unfinished hour; the current hour is excluded."""
    hours = plan_hours(TIMES)
    assert shifted(hours, _at(7, 6) + timedelta(minutes=30)) == hours
    assert [each.hour for each in shifted(hours, _at(7, 7))] == [_at(14, 6), _at(15, 9)]
    assert shifted(hours, _at(1, 0)) == hours
