"""Send rows at their own times on a clock that is moved hour by hour, and upload their labels when they are due."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from mlops_runtime.labels.label_rows import time_of
from mlops_runtime.labels.label_upload import LabelUpload
from mlops_runtime.serving.row_calls import AnsweredCall

HOUR = timedelta(hours=1)
WEEK = timedelta(weeks=1)
# captures of an hour are counted, and its windows decided, 15 minutes after the hour ends
SETTLED = timedelta(minutes=15)
_SHOWN = 3


class ReplayError(ValueError):
    """Rows cannot be sent at their times; the message states which, and the fix."""


@dataclass(frozen=True, slots=True)
class RowsOfHour:
    """The row numbers of an hour, and the hour in which they are sent."""

    hour: datetime
    rows: tuple[int, ...]


def plan_hours(
    times: Sequence[object], *, since: datetime | None = None, until: datetime | None = None
) -> list[RowsOfHour]:
    """Return the hours that have rows, in order; rows of an hour are in the order of their times.

    Args:
        times: Time of each row, as datetime or ISO 8601; UTC without a zone.
        since: Skip earlier rows. Default: no limit.
        until: Skip rows from this time on. Default: no limit.

    Raises:
        ReplayError: If a time is invalid, or no row is left.

    Example:
        >>> [(each.hour.hour, each.rows) for each in plan_hours(["2017-08-07T06:30", "2017-08-07T05:10", "2017-08-07T06:01"])]
        [(5, (1,)), (6, (2, 0))]
    """
    found = [time_of(value) for value in times]
    wrong = [row for row, at in enumerate(found) if at is None]
    if wrong:
        shown = ", ".join(f"{row + 1}: {str(times[row])[:40]!r}" for row in wrong[:_SHOWN])
        others = "1 row has another value" if len(wrong) == 1 else f"{len(wrong)} rows have other values"
        raise ReplayError(f"a time must be a timestamp or ISO 8601; {others} ({shown})")
    known = [
        (at.astimezone(UTC), row)
        for row, at in enumerate(found)
        if at is not None and (since is None or at >= since) and (until is None or at < until)
    ]
    if not known:
        raise ReplayError(f"no row is in the requested period, got {len(times)}")
    hours: dict[datetime, list[int]] = {}
    for at, row in sorted(known):
        hours.setdefault(_hour(at), []).append(row)
    return [RowsOfHour(hour, tuple(rows)) for hour, rows in hours.items()]


def shifted(hours: Sequence[RowsOfHour], now: datetime) -> list[RowsOfHour]:
    """Move the hours by whole weeks, so that the first is not in the past; weekdays and hours of the day are preserved.

    Example:
        >>> past = [RowsOfHour(datetime(2017, 8, 7, 6, tzinfo=UTC), (0,))]
        >>> shifted(past, datetime(2026, 11, 29, 1, 30, tzinfo=UTC))[0].hour.isoformat()
        '2026-11-30T06:00:00+00:00'
    """
    late = _hour(now) - hours[0].hour
    weeks = max(0, -(-late // WEEK))
    return [RowsOfHour(each.hour + weeks * WEEK, each.rows) for each in hours]


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class Clock(Protocol):
    """The clock on which rows are sent."""

    def now(self) -> datetime:
        """Return the time in the cloud."""

    def move(self, to: datetime) -> None:
        """Move the cloud's clock forward, running everything due in between."""


@dataclass(slots=True)
class ReplayCounts:
    """Progress of a replay."""

    rows: int = 0  # number of rows sent
    calls: int = 0  # number of calls
    answers: dict[str, int] = field(default_factory=dict)  # rows by result: 200, another status, or an error code
    problems: dict[str, str] = field(default_factory=dict)  # the first problem of each result
    labels_added: int = 0  # labels of rows that had none
    labels_replaced: int = 0  # labels that differ from an earlier one
    labels_unchanged: int = 0  # labels that existed already
    labels_unknown: int = 0  # labels without a call
    hour: datetime | None = None  # the last hour whose rows were all sent; None before

    def add(self, call: AnsweredCall) -> None:
        """Count a call."""
        self.rows += call.rows
        self.calls += 1
        self.answers[call.status] = self.answers.get(call.status, 0) + call.rows
        if call.problem is not None:
            self.problems.setdefault(call.status, call.problem)

    def add_labels(self, done: LabelUpload) -> None:
        """Count an upload of labels."""
        self.labels_added += done.added
        self.labels_replaced += done.replaced
        self.labels_unchanged += done.unchanged
        self.labels_unknown += done.unknown


Send = Callable[[Iterable[Mapping[str, object]], Sequence[str] | None, int], Iterator[AnsweredCall]]
PutLabels = Callable[[Sequence[str], Sequence[Sequence[object]], datetime, datetime], LabelUpload]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReplay:
    """A replay of rows."""

    hours: Sequence[RowsOfHour]  # row numbers by hour
    rows: Sequence[Mapping[str, object]]  # the rows of the file, in the form in which they are sent
    send: Send  # sends rows with their ids; also gets the number of the first row
    clock: Clock  # the cloud's clock
    # whether the clock is moved to the hours of the rows; else all rows are sent now, one hour after the other
    is_moved: bool
    wait: Callable[[float], None]  # sleeps for a number of real seconds; used with `speed`
    real: Callable[[], float]  # monotonic real time in seconds
    ids: Sequence[str] | None = None  # id of each row. Default: none, so no labels
    labels: Sequence[Sequence[object]] = ()  # columns of labels
    put: PutLabels | None = None  # uploads labels for ids that were sent between two times
    delay: timedelta = timedelta(days=1)  # time from the end of a row's hour until its label is known, in whole hours
    speed: float | None = None  # seconds of row time per real second. Default: as fast as possible

    def run(self, counts: ReplayCounts) -> Iterator[ReplayCounts]:
        """Send everything; yield the counts after each hour.

        If the replay stops between two yields, it leaves only complete calls: rows that were sent are captured, their ids are
        written, and the remaining labels can be uploaded by hand.

        Args:
            counts: Updated during the replay, also within an hour.

        Raises:
            ReplayError: If the first hour is already over, or none of its calls succeeded.
        """
        self._check()
        began, start, due = self.real(), _hour(self.clock.now()), list[tuple[datetime, RowsOfHour]]()
        for each in self.hours:
            if self.is_moved:
                due = self._put_due(due, each.hour, counts, start)
                self._move(each.hour)
            self._send(each, counts)
            due.append((each.hour + HOUR + self.delay, each))
            counts.hour = each.hour
            yield counts
            if self.speed is not None:
                left = began + (each.hour + HOUR - self.hours[0].hour).total_seconds() / self.speed - self.real()
                if left > 0:
                    self.wait(left)
        self._put_due(due, None, counts, start)
        if self.is_moved:
            self._move(max(self.clock.now(), self.hours[-1].hour + HOUR) + SETTLED)
        yield counts

    def _check(self) -> None:
        first, now = self.hours[0].hour, self.clock.now()
        if self.is_moved and first < _hour(now):
            raise ReplayError(
                f"the first row is from {first:%Y-%m-%dT%H}, and the cloud's clock is at {now:%Y-%m-%dT%H:%M} and cannot be set "
                "back; add --shift to move the rows by whole weeks, --from TIME to skip rows, or set the clock of a new cloud "
                "before its first deployment: mlops local clock --to TIME"
            )

    def _move(self, to: datetime) -> None:
        if to > self.clock.now():
            self.clock.move(to)

    def _send(self, each: RowsOfHour, counts: ReplayCounts) -> None:
        rows = (self.rows[row] for row in each.rows)
        ids = None if self.ids is None else [self.ids[row] for row in each.rows]
        for call in self.send(rows, ids, counts.rows + 1):
            counts.add(call)
        if counts.hour is None and not counts.answers.get("200"):
            status, problem = next(iter(counts.problems.items()))
            raise ReplayError(f"no call of the first hour succeeded ({status}): {problem}")

    def _put_due(
        self, due: list[tuple[datetime, RowsOfHour]], until: datetime | None, counts: ReplayCounts, start: datetime
    ) -> list[tuple[datetime, RowsOfHour]]:
        """Upload the labels that are due until a time, each at its own time; return the remaining ones."""
        while self.put is not None and due and (until is None or due[0][0] <= until):
            at, each = due.pop(0)
            if self.is_moved:
                self._move(at)
            values = [[column[row] for row in each.rows] for column in self.labels]
            ids = [(self.ids or ())[row] for row in each.rows]
            if any(value is not None for column in values for value in column):
                sent = (each.hour, each.hour + HOUR) if self.is_moved else (start, self.clock.now() + HOUR)
                counts.add_labels(self.put(ids, values, *sent))
        return due
