"""A deployed endpoint's monitor as people ask it: the report of a window that they name, and how often it decides."""

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
from mlops_runtime.monitor.archive import Archive
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.rollout.rollout_table import RolloutTable

NEWEST = "newest"
_LISTED = 5  # windows that an error names
_RECORDS = 50  # newest ones of each chain
_PACED = 13  # newest windows that say how often there is one


class WatchedError(ValueError):
    """What was asked of a monitor is not there; the message says what is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """An endpoint's monitor.

    Args:
        endpoint: Name of the endpoint.
        archive: Its reports and counts.
        rollout: The endpoint's row: what is live.
        captured: Its captures; None where the endpoint captures nothing.
        now: The time in the cloud.
        records: Returns the newest audit records of the endpoint and of its unit. Default: none.
        option: What names a window, for errors. Default: ``--window``.
    """

    endpoint: str
    archive: Archive
    rollout: RolloutTable
    captured: MonitorStore | None
    now: datetime
    records: Callable[[], Sequence[AuditRecord]] = tuple
    option: str = "--window"

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
            unit: Its unit's.
            now: The time in the cloud.
            option: As of the class.
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
            window: ``newest``, the hour in which it ended, or the day if no other ended then.

        Raises:
            WatchedError: If none matches, the day has several, or the window is not a time.
        """
        newest = self.archive.newest(self.now, most=_LISTED)
        if not newest:
            raise WatchedError(
                f"the monitor of {self.endpoint} has left no report yet; it leaves one each time that it decides: "
                "deploy a ModelMonitor for the endpoint, or wait for its schedule"
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
            raise WatchedError(f"{len(found)} windows of {self.endpoint} ended on {window}, say which: {_ends(found)}")
        return found[0]

    def period_hours(self, report: MonitorReport) -> int | None:
        """Return how often the monitor decides by its schedule; None where the newest reports do not tell.

        A run by hand lies as far from its neighbours as it happened to: only a distance that came twice is the schedule's, and of
        several the one that makes up most of the time.
        """
        earlier = self.archive.history(report, most=_PACED - 1)
        ends = [datetime.fromisoformat(each.window_until) for each in (report, *earlier)]
        apart = Counter((later - before) // timedelta(hours=1) for later, before in pairwise(ends))
        return max((hours for hours, times in apart.items() if times > 1), key=lambda h: h * apart[h], default=None)

    def live_since(self) -> str | None:
        """Return since when the live model serves; None before the first rollout."""
        live = self.rollout.read().live
        return None if live is None else from_json(LivePointer, live).since

    def captures(self) -> MonitorStore:
        """Return where the captures are read.

        Raises:
            WatchedError: If the endpoint has none.
        """
        if self.captured is None:
            raise WatchedError(
                f"{self.endpoint} captures nothing that could be counted again; turn on its data capture"
            )
        return self.captured


def hour(option: str, text: str) -> datetime:
    """Return the full hour of a time that the user typed, UTC by default.

    Args:
        option: The option, for the error.
        text: ISO 8601; a date alone is its first hour.

    Raises:
        WatchedError: If it is not a time.

    Example:
        >>> hour("--from", "2017-08-08T06").isoformat()
        '2017-08-08T06:00:00+00:00'
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise WatchedError(f"{option} must be a time such as 2017-08-08T06 or 2017-08-08, got {text!r}") from None
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return found.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def whole_hour(option: str, text: str) -> datetime:
    """Return a time that the user typed as the start or the end of a span: counts are kept by the hour.

    Args:
        option: The option, for the error.
        text: ISO 8601; a date alone is its first hour.

    Raises:
        WatchedError: If it is not a time, or not a full hour.

    Example:
        >>> whole_hour("--to", "2017-08-08T06:00+02:00").isoformat()
        '2017-08-08T04:00:00+00:00'
    """
    found = hour(option, text)
    given = datetime.fromisoformat(text)
    if (given if given.tzinfo is not None else given.replace(tzinfo=UTC)) != found:
        raise WatchedError(
            f"{option} must be a whole hour, UTC, got {text!r}; take {found:%Y-%m-%dT%H} or the hour after"
        )
    return found


def _ends(reports: Sequence[MonitorReport]) -> str:
    return ", ".join(report.window_until[:13] for report in reports)
