"""Windows of hours that monitors evaluate, and inventories of their objects, from which the next run detects late ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from mlops_runtime.contracts import ContractError
from mlops_runtime.iso_time import parse_time, with_offset

HOUR = timedelta(hours=1)
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html: delivered within minutes
SETTLING = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Window:
    """Whole hours in UTC, from ``start`` inclusive to ``end`` exclusive. Successive windows neither overlap nor leave gaps."""

    start: datetime
    end: datetime

    @classmethod
    def before(cls, now: datetime, hours: int) -> "Window":
        """Return the last ``hours`` full hours that ended at least ten minutes ago: captures arrive minutes after their calls.

        A time without a zone is UTC.

        Example:
            >>> Window.before(datetime(2017, 8, 8, 0, 15, tzinfo=UTC), 24).end.isoformat()
            '2017-08-08T00:00:00+00:00'
            >>> Window.before(datetime(2017, 8, 8, 0, 5), 24).end.isoformat()
            '2017-08-07T23:00:00+00:00'
        """
        settled = with_offset(now) - SETTLING
        end = settled.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return cls(end - timedelta(hours=hours), end)

    @property
    def hours(self) -> int:
        """Length in hours."""
        return (self.end - self.start) // HOUR

    def extended(self, hours: int) -> "Window":
        """Return the window, starting ``hours`` earlier."""
        return Window(self.start - timedelta(hours=hours), self.end)

    def due(self, delay_hours: int, period_hours: int) -> "Window":
        """Return the earlier window whose labels are due by now: the oldest whose calls are all read.

        Args:
            delay_hours: Maximum time between a call and its label.
            period_hours: Hours between runs, and so between the starts of windows.

        Example:
            >>> window = Window.before(datetime(2017, 8, 8, 0, 15, tzinfo=UTC), 24)
            >>> window.due(50, 24).end.isoformat(), window.due(0, 24) == window
            ('2017-08-06T00:00:00+00:00', True)
        """
        back = timedelta(hours=delay_hours // period_hours * period_hours)
        return Window(self.start - back, self.end - back)

    def newest(self, hours: int) -> "Window":
        """Return the last ``hours`` of the window, at most the whole window.

        Example:
            >>> Window.before(datetime(2017, 8, 8, tzinfo=UTC), 168).newest(24).hours
            24
        """
        return Window(max(self.start, self.end - timedelta(hours=hours)), self.end)

    def holds(self, hour: datetime) -> bool:
        """Return whether the window contains an hour."""
        return self.start <= hour < self.end


def hour_of(key: str, prefix: str) -> datetime | None:
    """Return the hour of an object ``<prefix>yyyy/mm/dd/hh/...``, UTC; None for any other key.

    Example:
        >>> hour_of("capture/e/v/2017/08/07/23/a.jsonl", "capture/e/v/").isoformat()
        '2017-08-07T23:00:00+00:00'
        >>> hour_of("capture/e/v/2017/08/07/24/a.jsonl", "capture/e/v/")
    """
    try:
        return datetime.strptime(key[len(prefix) : len(prefix) + 14], "%Y/%m/%d/%H/").replace(tzinfo=UTC)
    except ValueError:
        return None


def within(hour: datetime, at: datetime) -> datetime:
    """Return a time clamped to an hour.

    Example:
        >>> noon = datetime(2017, 8, 7, 12, tzinfo=UTC)
        >>> within(noon, datetime(2017, 8, 7, 13, 30, tzinfo=UTC)).isoformat()
        '2017-08-07T12:59:59+00:00'
    """
    return max(hour, min(at, hour + timedelta(seconds=3599)))


def event_time(event: Mapping[str, Any]) -> datetime:
    """Return the time of a scheduled event; without a zone it is UTC.

    Args:
        event: An EventBridge event, or ``{"time": "2017-08-08T06:15:00Z"}`` for a manual run.

    Raises:
        ContractError: If it has no valid ``time``.

    Example:
        >>> event_time({"time": "2017-08-08T06:15:00Z"}).hour
        6
    """
    try:
        return parse_time(event["time"])
    except (KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f'the event must carry a time, {{"time": "2017-08-08T06:15:00Z"}}, got {event.get("time")!r}'
        ) from error


def stamp(time: datetime) -> str:
    """Return a time in the format of contracts.

    Example:
        >>> stamp(datetime(2017, 8, 8, tzinfo=UTC))
        '2017-08-08T00:00:00Z'
    """
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """``objects.json``: number of counted objects by hour from ``since`` until ``until``; hours without objects have no entry."""

    since: str
    until: str
    hours: Mapping[str, int]
    format: Literal["mlops.monitor-objects/1"] = "mlops.monitor-objects/1"


def late_objects(earlier: Inventory | None, now: Inventory) -> int:
    """Return the number of objects that arrived after the run that evaluated their hour; the next report counts each once.

    Args:
        earlier: Inventory of the previous run. None: there was no run, so no object is late.
        now: Inventory of this run.

    Example:
        >>> hours = {"2017-08-07T00:00:00Z": 2}
        >>> before = Inventory(since="2017-08-07T00:00:00Z", until="2017-08-08T00:00:00Z", hours=hours)
        >>> late_objects(before, Inventory(since=before.since, until="2017-08-09T00:00:00Z", hours={"2017-08-07T00:00:00Z": 3}))
        1
    """
    if earlier is None:
        return 0
    decided = [hour for hour in now.hours if earlier.since <= hour < earlier.until]
    return sum(max(0, now.hours[hour] - earlier.hours.get(hour, 0)) for hour in decided)
