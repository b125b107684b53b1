"""Which hours a decision is about, and which objects each of them had: what the next run tells late objects by."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from mlops_runtime.contracts import ContractError

HOUR = timedelta(hours=1)
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html: delivered within minutes
SETTLING = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Window:
    """Whole hours, ``start`` included, ``end`` excluded, both UTC. Successive windows share no hour and leave out none."""

    start: datetime
    end: datetime

    @classmethod
    def before(cls, now: datetime, hours: int) -> "Window":
        """Return the last ``hours`` full hours that have been over for ten minutes: captures land minutes after their calls.

        A time without a zone is in UTC.

        Example:
            >>> Window.before(datetime(2017, 8, 8, 0, 15, tzinfo=UTC), 24).end.isoformat()
            '2017-08-08T00:00:00+00:00'
            >>> Window.before(datetime(2017, 8, 8, 0, 5), 24).end.isoformat()
            '2017-08-07T23:00:00+00:00'
        """
        settled = (now if now.tzinfo is not None else now.replace(tzinfo=UTC)) - SETTLING
        end = settled.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return cls(end - timedelta(hours=hours), end)

    @property
    def hours(self) -> int:
        """How many hours it has."""
        return (self.end - self.start) // HOUR

    def extended(self, hours: int) -> "Window":
        """Return the window with ``hours`` more before it."""
        return Window(self.start - timedelta(hours=hours), self.end)

    def due(self, delay_hours: int, period_hours: int) -> "Window":
        """Return the earlier window whose labels are due by now: the oldest whose calls are all read back.

        Args:
            delay_hours: How long labels take.
            period_hours: How often it is decided, and so by how much windows differ.

        Example:
            >>> window = Window.before(datetime(2017, 8, 8, 0, 15, tzinfo=UTC), 24)
            >>> window.due(50, 24).end.isoformat(), window.due(0, 24) == window
            ('2017-08-06T00:00:00+00:00', True)
        """
        back = timedelta(hours=delay_hours // period_hours * period_hours)
        return Window(self.start - back, self.end - back)

    def newest(self, hours: int) -> "Window":
        """Return its last ``hours``, or all of it where it has no more.

        Example:
            >>> Window.before(datetime(2017, 8, 8, tzinfo=UTC), 168).newest(24).hours
            24
        """
        return Window(max(self.start, self.end - timedelta(hours=hours)), self.end)

    def holds(self, hour: datetime) -> bool:
        """Return whether an hour lies in it."""
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
    """Return a time, or the end of an hour that is nearer to it where it lies outside.

    Example:
        >>> noon = datetime(2017, 8, 7, 12, tzinfo=UTC)
        >>> within(noon, datetime(2017, 8, 7, 13, 30, tzinfo=UTC)).isoformat()
        '2017-08-07T12:59:59+00:00'
    """
    return max(hour, min(at, hour + timedelta(seconds=3599)))


def event_time(event: Mapping[str, Any]) -> datetime:
    """Return the time that a schedule's event carries, in UTC where it has no zone.

    Args:
        event: As EventBridge sends it, or ``{"time": "2017-08-08T06:15:00Z"}`` by hand.

    Raises:
        ContractError: If it carries none.

    Example:
        >>> event_time({"time": "2017-08-08T06:15:00Z"}).hour
        6
    """
    try:
        time = datetime.fromisoformat(event["time"])
    except (KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f'the event must carry a time, {{"time": "2017-08-08T06:15:00Z"}}, got {event.get("time")!r}'
        ) from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def stamp(time: datetime) -> str:
    """Return a time as contracts write it.

    Example:
        >>> stamp(datetime(2017, 8, 8, tzinfo=UTC))
        '2017-08-08T00:00:00Z'
    """
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """``objects.json``: how many counted objects each hour had, of all hours from ``since`` until ``until``; none has no entry."""

    since: str
    until: str
    hours: Mapping[str, int]
    format: Literal["mlops.monitor-objects/1"] = "mlops.monitor-objects/1"


def late_objects(earlier: Inventory | None, now: Inventory) -> int:
    """Return how many objects came after the run that decided about their hour: each is reported once, by the next report.

    Args:
        earlier: Objects that the previous run read. Default: no earlier run, so nothing can be late.
        now: What is seen now.

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
