"""Where the reports of an endpoint's monitor lie, and the newest of them. Needs no numpy."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.monitor_report import MonitorReport

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REPORT = "report.json"
# a monitor decides at least every 90 days; one that decides hourly is found in the first step
LONGEST_DAYS = 100
_DAYS = (2, 10, LONGEST_DAYS)


def metrics_key(endpoint: str) -> str:
    """Return where the metrics of an endpoint's newest window lie, as Prometheus text.

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
    """Return the prefix below which the files of a window's report lie, without a slash at its end.

    Example:
        >>> report_folder("demand-forecast", datetime(2017, 8, 8, 6, tzinfo=UTC))
        'monitor/demand-forecast/reports/2017-08-08T06'
    """
    return f"{reports_prefix(endpoint)}{end.astimezone(UTC):%Y-%m-%dT%H}"


def report_keys(s3: "S3Client", bucket: str, endpoint: str, *, since: datetime, until: datetime) -> list[str]:
    """Return the keys of the files of reports between two times, oldest first; their names sort by time."""
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
    """Return the newest report, of a window that ended up to now; None where the last 100 days have none.

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
