"""A monitor's reports in S3: their keys, the newest one, and those of earlier runs. Imports no numpy."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.monitor.window import Inventory
from mlops_runtime.refused_calls import Tolerated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REPORT = "report.json"
# a monitor runs at least every 90 days; the first step finds hourly ones
LONGEST_DAYS = 100
_DAYS = (2, 10, LONGEST_DAYS)
_OBJECTS = "objects.json"
# look-back periods for the previous run: days for an hourly monitor, two years for a yearly one
_LOOK_BACK_DAYS = (10, 100, 800)
_MISSING = frozenset({"NoSuchKey", "404", "NoSuchBucket", "AccessDenied"})


def metrics_key(endpoint: str) -> str:
    """Return the key of the Prometheus text of an endpoint's newest window.

    Example:
        >>> metrics_key("demand-forecast")
        'monitor/demand-forecast/metrics.prom'
    """
    return f"monitor/{endpoint}/metrics.prom"


def reports_prefix(endpoint: str) -> str:
    """Return the prefix of all reports of an endpoint.

    Example:
        >>> reports_prefix("demand-forecast")
        'monitor/demand-forecast/reports/'
    """
    return f"monitor/{endpoint}/reports/"


def report_folder(endpoint: str, end: datetime) -> str:
    """Return the key prefix of the files of a window's report, without a trailing slash.

    Example:
        >>> report_folder("demand-forecast", datetime(2017, 8, 8, 6, tzinfo=UTC))
        'monitor/demand-forecast/reports/2017-08-08T06'
    """
    return f"{reports_prefix(endpoint)}{end.astimezone(UTC):%Y-%m-%dT%H}"


def report_keys(s3: "S3Client", bucket: str, endpoint: str, *, since: datetime, until: datetime) -> list[str]:
    """Return the keys of the report files between two times, oldest first; keys sort by time."""
    found: list[str] = []
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=reports_prefix(endpoint), StartAfter=report_folder(endpoint, since)
    )
    for page in pages:
        for entry in page.get("Contents", []):
            if entry["Key"] >= report_folder(endpoint, until):
                return found
            found.append(entry["Key"])
    return found


def newest_report(s3: "S3Client", bucket: str, endpoint: str, *, now: datetime) -> MonitorReport | None:
    """Return the newest report of a window that ended up to now; None without one in the last 100 days.

    Raises:
        ContractError: If the object is not a report.
    """
    for days in _DAYS:
        since, until = now - timedelta(days=days), now + timedelta(hours=1)
        keys = report_keys(s3, bucket, endpoint, since=since, until=until)
        reports = [key for key in keys if key.endswith(f"/{REPORT}")]
        if reports:
            return from_json(MonitorReport, s3.get_object(Bucket=bucket, Key=reports[-1])["Body"].read())
    return None


class PastRuns:
    """An endpoint's runs whose windows ended before a time.

    Args:
        s3: Client.
        bucket: Bucket of the reports.
        since: Earliest end of the windows that `reports` yields.
        until: Windows that ended from this time on are excluded.
    """

    def __init__(self, s3: "S3Client", bucket: str, endpoint: str, *, since: datetime, until: datetime) -> None:
        self._s3, self._bucket, self._endpoint = s3, bucket, endpoint
        self._since, self._until = since, until
        self._read: dict[str, MonitorReport] = {}

    def reports(self) -> Iterator[MonitorReport]:
        """Yield the runs' reports, newest first."""
        for key in reversed(self._keys):
            if key.endswith(f"/{REPORT}"):
                yield self._report(key)

    def report_of(self, end: datetime) -> MonitorReport | None:
        """Return the report of the window that ended at a time, however far back; None if no report exists."""
        with Tolerated(*_MISSING):
            return self._report(f"{report_folder(self._endpoint, end)}/{REPORT}")
        return None

    def inventory(self) -> Inventory | None:
        """Return the inventory of objects of the newest run, up to 800 days back; None without a run."""
        keys, days = self._keys, iter(_LOOK_BACK_DAYS)
        while not (found := [key for key in keys if key.endswith(f"/{_OBJECTS}")]):
            back = next(days, None)
            if back is None:
                return None
            if (since := self._until - timedelta(days=back)) < self._since:
                keys = report_keys(self._s3, self._bucket, self._endpoint, since=since, until=self._until)
        return from_json(Inventory, self._body(found[-1]))

    @cached_property
    def _keys(self) -> list[str]:
        return report_keys(self._s3, self._bucket, self._endpoint, since=self._since, until=self._until)

    def _report(self, key: str) -> MonitorReport:
        if key not in self._read:
            self._read[key] = from_json(MonitorReport, self._body(key))
        return self._read[key]

    def _body(self, key: str) -> bytes:
        return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
