"""S3 keys of a monitor's reports, and its newest report. Imports no numpy."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.monitor_report import MonitorReport

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REPORT = "report.json"
# a monitor runs at least every 90 days; the first step finds hourly ones
LONGEST_DAYS = 100
_DAYS = (2, 10, LONGEST_DAYS)


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
