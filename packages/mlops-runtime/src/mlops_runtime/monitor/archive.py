"""Read a monitor's output: reports with their counts and baselines, and counts by hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from mlops_runtime.contracts import ContractError, content_hash, from_json
from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import TakenBack, is_among
from mlops_runtime.monitor.store import BaselineIntegrityError, MonitorStore
from mlops_runtime.monitor.stored_reports import metrics_key, reports_prefix
from mlops_runtime.monitor.window import HOUR, Window
from mlops_runtime.refused_calls import Tolerated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# look-back periods, tried in order: hourly monitors have reports within days, yearly ones within two years
_DAYS = (10, 100, 800)
_MISSING = ("NoSuchKey", "404")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The stored report, baseline and counts of one window."""

    report: MonitorReport  # the window's report
    baseline: Baseline | None = None  # baseline of the decision; None if unusable
    counts: Counts | None = None  # the window's counts; None if missing
    problem: str = ""  # why the baseline or the counts are unavailable; empty if both are


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyCounts:
    """Counts of several hours against one baseline."""

    parts: Sequence[tuple[datetime, Counts]]  # counts of each capture object, with its hour
    others: int = 0  # number of objects whose counts belong to another baseline or are broken
    taken_back: int = 0  # number of objects with calls during a rollout that was rolled back


class Archive:
    """Reads one endpoint's reports.

    Args:
        s3: Client.
        artifacts: Bucket of counts, baselines and reports.
    """

    def __init__(self, s3: "S3Client", *, endpoint: str, artifacts: str) -> None:
        self._s3, self._endpoint, self._artifacts = s3, endpoint, artifacts
        self._store = MonitorStore(s3, endpoint=endpoint, artifacts=artifacts)

    def newest(self, now: datetime, *, most: int = 1) -> list[MonitorReport]:
        """Return up to ``most`` of the newest reports, newest first."""
        # a window that ends within this hour has its report already
        return self._before(now + HOUR, most)

    def at(self, end: datetime) -> MonitorReport | None:
        """Return the report of the window that ended in an hour; None if it does not exist."""
        hour = end.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return next(self._store.past_runs(hour + HOUR, since=hour).reports(), None)

    def on(self, day: datetime) -> list[MonitorReport]:
        """Return the reports of the windows that ended on a day, newest first."""
        return list(self._store.past_runs(day + timedelta(days=1), since=day).reports())

    def history(self, report: MonitorReport, *, most: int) -> list[MonitorReport]:
        """Return the reports that precede one, newest first."""
        return self._before(datetime.fromisoformat(report.window_until), most)

    def metrics(self) -> str | None:
        """Return the newest window's metrics in Prometheus text format; None if no run has written them yet."""
        body = self._body(metrics_key(self._endpoint))
        return None if body is None else body.decode()

    def kept(self, report: MonitorReport) -> Kept:
        """Return a report with its counts and its baseline, each if usable."""
        counts = self._counts(report)
        if report.baseline_flaw is not None or report.baseline_uri is None or report.baseline_sha256 is None:
            return Kept(report=report, counts=counts, problem=report.baseline_flaw or "no model was live")
        try:
            baseline = self._store.decided_baseline(report.baseline_uri, report.baseline_sha256)
        except BaselineIntegrityError as error:
            return Kept(report=report, counts=counts, problem=str(error))
        problem = "" if counts is not None else "this run stored no counts"
        return Kept(report=report, baseline=baseline, counts=counts, problem=problem)

    def hourly(
        self, variant: str, window: Window, baseline: Baseline, *, aside: Sequence[TakenBack] = ()
    ) -> HourlyCounts:
        """Return a window's counts by hour against a baseline, selected as the monitor selects them.

        Args:
            window: The hours to read.
            baseline: Baseline of the counts.
            aside: Rollouts that were rolled back; objects with calls during them are excluded. Default: none.
        """
        digest = content_hash(baseline)
        by_hour = self._store.counts_by_hour(variant, window)
        hours = [hour for hour, objects in by_hour.items() for _ in objects]
        objects = [keys for of_hour in by_hour.values() for keys in of_hour.values()]
        found = zip(hours, self._store.counts_against(digest, objects), strict=True)
        parts = [(hour, c) for hour, c in found if isinstance(c, Counts) and c.baseline_sha256 == digest]
        own = [(hour, c) for hour, c in parts if not is_among(c.first, c.last, aside)]
        return HourlyCounts(parts=own, others=len(objects) - len(parts), taken_back=len(parts) - len(own))

    def _before(self, end: datetime, most: int) -> list[MonitorReport]:
        found: list[MonitorReport] = []
        for days in _DAYS:
            found = list(islice(self._store.past_runs(end, since=end - timedelta(days=days)).reports(), most))
            if len(found) == most or (not found and days == _DAYS[0] and not self._has_reports()):
                break
        return found

    def _has_reports(self) -> bool:
        """Return whether any report exists, with one request: spares unmonitored endpoints the longer look-backs."""
        prefix = reports_prefix(self._endpoint)
        return self._s3.list_objects_v2(Bucket=self._artifacts, Prefix=prefix, MaxKeys=1)["KeyCount"] > 0

    def _counts(self, report: MonitorReport) -> Counts | None:
        uri = self._store.report_uri(datetime.fromisoformat(report.window_until))
        key = uri.removeprefix(f"s3://{self._artifacts}/").replace("report.json", "counts.json")
        try:
            body = self._body(key)
            return None if body is None else from_json(Counts, body)
        except ContractError:
            return None

    def _body(self, key: str) -> bytes | None:
        with Tolerated(*_MISSING):
            return self._s3.get_object(Bucket=self._artifacts, Key=key)["Body"].read()
        return None
