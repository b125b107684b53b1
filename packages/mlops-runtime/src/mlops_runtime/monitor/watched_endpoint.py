"""Read access to a deployed endpoint's monitor: the report of a window, the schedule, the live model, the captures."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from mlops_runtime.business_unit.deployed_chain import open_chain
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer
from mlops_runtime.contracts.unit_entries import EndpointEntry, UnitEntry
from mlops_runtime.iso_time import parse_time
from mlops_runtime.monitor.archive import Archive
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.rollout.rollout_table import RolloutTable

NEWEST = "newest"
_LISTED = 5  # windows listed in an error
_RECORDS = 50  # newest records read of each chain
_PACED = 13  # newest windows from which the period is derived


class WatchedError(ValueError):
    """A requested report or capture does not exist; the message lists what does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """An endpoint's monitor."""

    endpoint: str
    archive: Archive  # the endpoint's reports and counts
    rollout: RolloutTable  # the endpoint's row with its live version
    captured: MonitorStore | None  # the endpoint's captures; None without data capture
    now: datetime  # the time in the cloud
    # returns the newest audit records of the endpoint and of its unit. Default: none
    records: Callable[[], Sequence[AuditRecord]] = tuple
    option: str = "--window"  # option that names a window, for error messages. Default: `--window`

    @classmethod
    def of(
        cls,
        client: Callable[[str], Any],
        *,
        endpoint: EndpointEntry,
        unit: UnitEntry,
        now: datetime,
        option: str = "--window",
    ) -> "Watched":
        """Return the monitor of a deployed endpoint.

        Args:
            client: Returns the client of a service.
            endpoint: The endpoint's entry.
            unit: The entry of its unit.
            now: The time in the cloud.
            option: As in the class.
        """
        s3, artifacts = client("s3"), unit.artifacts_bucket
        capture = endpoint.capture_bucket
        return cls(
            endpoint=endpoint.endpoint,
            archive=Archive(s3, endpoint=endpoint.endpoint, artifacts=artifacts),
            rollout=RolloutTable(client("dynamodb"), endpoint.rollout_table, endpoint.endpoint),
            captured=None
            if capture is None
            else MonitorStore(s3, endpoint=endpoint.endpoint, artifacts=artifacts, captures=capture),
            now=now,
            records=lambda: [
                record
                for owner in (endpoint, unit)
                for chain in (open_chain(client, owner),)
                for record in chain.newest(chain.table.read(), _RECORDS)
            ],
            option=option,
        )

    def report(self, window: str) -> MonitorReport:
        """Return the report of a window.

        Args:
            window: ``newest``, the hour in which the window ended, or the day if only one window ended on it.

        Raises:
            WatchedError: If no report matches, the day has several, or ``window`` is not a time.
        """
        newest = self.archive.newest(self.now, most=_LISTED)
        if not newest:
            raise WatchedError(
                f"the monitor of {self.endpoint} has written no report yet; each scheduled run writes one: "
                "deploy a ModelMonitor for the endpoint, or wait for its next run"
            )
        if window == NEWEST:
            return newest[0]
        at = hour(self.option, window)
        if not re.fullmatch(r"\d{4}-?\d\d-?\d\d", window):
            at_hour = self.archive.at(at)
            found = [] if at_hour is None else [at_hour]
        else:
            found = self.archive.on(at)
        if not found:
            raise WatchedError(f"no window of {self.endpoint} ended at {window}; the newest ended at {_ends(newest)}")
        if len(found) > 1:
            raise WatchedError(
                f"{len(found)} windows of {self.endpoint} ended on {window}, name one of: {_ends(found)}"
            )
        return found[0]

    def period_hours(self, report: MonitorReport) -> int | None:
        """Return the hours between scheduled runs; None if they cannot be derived from the newest reports.

        Manual runs cause irregular intervals between windows: only an interval that occurs at least twice counts, and of several
        the one that covers the most time.
        """
        earlier = self.archive.history(report, most=_PACED - 1)
        ends = [datetime.fromisoformat(each.window_until) for each in (report, *earlier)]
        apart = Counter((later - before) // timedelta(hours=1) for later, before in pairwise(ends))
        return max((hours for hours, times in apart.items() if times > 1), key=lambda h: h * apart[h], default=None)

    def live_since(self) -> str | None:
        """Return the time since which the model is live; None before the first rollout."""
        live = self.rollout.read().live
        return None if live is None else from_json(LivePointer, live).since

    def captures(self) -> MonitorStore:
        """Return the store of the captures.

        Raises:
            WatchedError: If the endpoint has no data capture.
        """
        if self.captured is None:
            raise WatchedError(f"{self.endpoint} has no captures to count again; enable its data capture")
        return self.captured


def hour(option: str, text: str) -> datetime:
    """Return the full hour of a time that the user typed, UTC by default.

    Args:
        option: Name of the option, for the error message.
        text: ISO 8601; a date alone is its first hour.

    Raises:
        WatchedError: If it is not a time.

    Example:
        >>> hour("--from", "2017-08-08T06").isoformat()
        '2017-08-08T06:00:00+00:00'
    """
    try:
        found = parse_time(text)
    except ValueError:
        raise WatchedError(f"{option} must be a time such as 2017-08-08T06 or 2017-08-08, got {text!r}") from None
    return found.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def whole_hour(option: str, text: str) -> datetime:
    """Return a time that the user typed as the start or the end of a span, a full hour: counts are stored by the hour.

    Args:
        option: Name of the option, for the error message.
        text: ISO 8601; a date alone is its first hour.

    Raises:
        WatchedError: If it is not a time, or not a full hour.

    Example:
        >>> whole_hour("--to", "2017-08-08T06:00+02:00").isoformat()
        '2017-08-08T04:00:00+00:00'
    """
    found = hour(option, text)
    if parse_time(text) != found:
        raise WatchedError(
            f"{option} must be a whole hour, UTC, got {text!r}; use {found:%Y-%m-%dT%H} or the following hour"
        )
    return found


def _ends(reports: Sequence[MonitorReport]) -> str:
    return ", ".join(report.window_until[:13] for report in reports)
