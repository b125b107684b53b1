"""Evidence for a request: the newest report of the endpoint's monitor for an alarm, the table's snapshot for an ingest's rows.

An alarm alone is not evidence. With CloudWatch's embedded metric format, a principal that may write to any log of the account can
publish any metric outside of AWS's namespaces without a permission to publish metrics. A report is an object that only the monitor
may write.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format.html
and https://iceberg.apache.org/spec/#optional-snapshot-summary-fields
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.monitor import metric_namespace
from mlops_runtime.contracts.monitor_report import MonitorReport, feed_faults
from mlops_runtime.features.table_freshness import read_metadata
from mlops_runtime.monitor.stored_reports import LONGEST_DAYS, REPORT, newest_report, report_folder

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_s3 import S3Client

IN_ALARM = "ALARM"
_COMPARISONS = {
    "GreaterThanOrEqualToThreshold": (">=", float.__ge__),
    "GreaterThanThreshold": (">", float.__gt__),
    "LessThanOrEqualToThreshold": ("<=", float.__le__),
    "LessThanThreshold": ("<", float.__lt__),
}
# neither PutMetricData nor log lines can publish metrics in these namespaces
_OF_AWS = "AWS/"
KEY_HASH = "mlops.idempotency-key-sha256"  # property of the summary, written by ``features/ingest_ledger.py``


@dataclass(frozen=True, slots=True)
class Alarms:
    """Current state of alarms."""

    states: Mapping[str, str]  # state of each existing alarm
    doubts: Mapping[str, str]  # for alarms in ALARM without confirmation, the reason
    # suspected faults of the feed in the monitor's newest report, one string for each feature
    faults: tuple[str, ...] = ()
    report: str = ""  # URI of that report. Default: none was read


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEvidence:
    """Reader of alarms and of the evidence that confirms them."""

    cloudwatch: "CloudWatchClient"
    s3: "S3Client"
    bucket: str  # bucket of the monitor's reports
    endpoint: str  # name of the endpoint whose model the pipeline trains
    unit: str  # name of the business unit

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], cloudwatch: "CloudWatchClient", s3: "S3Client"
    ) -> "AlarmEvidence":
        """Create it from ``ARTIFACTS_BUCKET``, ``ENDPOINT`` and ``UNIT``.

        Raises:
            KeyError: If a variable is missing.
        """
        return cls(
            cloudwatch=cloudwatch,
            s3=s3,
            bucket=environ["ARTIFACTS_BUCKET"],
            endpoint=environ["ENDPOINT"],
            unit=environ["UNIT"],
        )

    def read(self, names: tuple[str, ...], now: datetime) -> Alarms:
        """Return the named alarms that exist, metric or composite, with a doubt for each alarm in ALARM without evidence."""
        if not names:
            return Alarms({}, {})
        answer = self.cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        found: list[Mapping[str, Any]] = [*answer["MetricAlarms"], *answer["CompositeAlarms"]]
        firing = [alarm for alarm in found if alarm["StateValue"] == IN_ALARM]
        report = self._newest(now) if any(map(_custom, firing)) else None
        doubts = {alarm["AlarmName"]: doubt(alarm, report, unit=self.unit, endpoint=self.endpoint) for alarm in firing}
        return Alarms(
            {alarm["AlarmName"]: alarm["StateValue"] for alarm in found},
            {name: why for name, why in doubts.items() if why is not None},
            feed_texts(report) if isinstance(report, MonitorReport) else (),
            self._uri(report) if isinstance(report, MonitorReport) else "",
        )

    def _uri(self, report: MonitorReport) -> str:
        folder = report_folder(self.endpoint, datetime.fromisoformat(report.window_until))
        return f"s3://{self.bucket}/{folder}/{REPORT}"

    def _newest(self, now: datetime) -> MonitorReport | ContractError | None:
        try:
            return newest_report(self.s3, self.bucket, self.endpoint, now=now)
        except ContractError as error:
            return error


def feed_texts(report: MonitorReport) -> tuple[str, ...]:
    """Return suspected faults of the feed, one string for each drifted feature; empty if the report was suppressed.

    Args:
        report: The newest report of the endpoint's monitor.
    """
    found = () if report.suppressed is not None else feed_faults(report.drift)
    return tuple(f"{feature.name}: {feature.feed_fault}" for feature in found)


def doubt(
    alarm: Mapping[str, Any], report: MonitorReport | ContractError | None, *, unit: str, endpoint: str
) -> str | None:
    """Return why an alarm is not confirmed; None if only AWS can publish its metric, or if the report confirms it.

    Args:
        alarm: Alarm from the response of DescribeAlarms.
        report: The newest report of the endpoint's monitor, or why it cannot be read.
        unit: Name of the business unit.
    """
    if "AlarmRule" in alarm:
        return "it is composed of other alarms; use metric alarms for the pipeline"
    custom = _custom(alarm)
    if not custom:
        return None
    if custom != [metric_namespace(unit)] or "MetricName" not in alarm:
        return (
            f"any log line can write its metric, in {', '.join(custom)}; use alarms of a monitor of {endpoint}, or on "
            f"metrics in namespaces that begin with {_OF_AWS}"
        )
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions", ())}
    if dimensions.get("Endpoint") != endpoint:
        return f"it is about endpoint {dimensions.get('Endpoint')!r}, but the pipeline trains the model of {endpoint!r}"
    if report is None:
        return f"no report of the monitor of {endpoint} in {LONGEST_DAYS} days"
    if isinstance(report, ContractError):
        return f"the newest report of the monitor of {endpoint} cannot be read: {report}"
    return _contradiction(alarm, report, dimensions)


def _contradiction(alarm: Mapping[str, Any], report: MonitorReport, dimensions: Mapping[str, str]) -> str | None:
    name, limit = alarm["MetricName"], float(alarm["Threshold"])
    sign, breaches = _COMPARISONS[alarm["ComparisonOperator"]]
    which = f"the newest report, of the window until {report.window_until},"
    if dimensions.get("Variant") != report.variant:
        return f"{which} is of variant {report.variant!r}, not {dimensions.get('Variant')!r}"
    values = [
        metric.value
        for metric in report.metrics
        if (metric.monitor, metric.name, metric.feature) == (dimensions.get("Monitor"), name, dimensions.get("Feature"))
    ]
    if not values:
        return f"{which} has no {name}"
    return None if breaches(float(values[0]), limit) else f"{which} has {name} {values[0]:g}, not {sign} {limit:g}"


def _custom(alarm: Mapping[str, Any]) -> list[str]:
    """Return the namespaces of an alarm's metrics that are not AWS's own."""
    queries = (query.get("MetricStat", {}).get("Metric", {}).get("Namespace") for query in alarm.get("Metrics", ()))
    named = {name for name in (alarm.get("Namespace"), *queries) if name is not None}
    return sorted(name for name in named if not name.startswith(_OF_AWS))


class IngestedRows:
    """Counts rows of ingests into the tables of a Glue database.

    Args:
        glue: Client, to find a table's metadata file.
        s3: Client, to read the file.
    """

    def __init__(self, *, glue: "GlueClient", s3: "S3Client", database: str) -> None:
        self._glue, self._s3, self._database = glue, s3, database

    def __call__(self, table: str, ingest: str) -> int | None:
        """Return the number of rows that an ingest appended; None if the table has no snapshot of it."""
        return rows_of(read_metadata(self._database, table, self._glue, self._s3), ingest)


def rows_of(metadata: Mapping[str, Any], ingest: str) -> int | None:
    """Return the number of rows that an ingest appended, from a table's metadata; None without a snapshot of the ingest.

    Args:
        metadata: The table's metadata file.
        ingest: Id of the ingest: the beginning of its idempotency key's SHA-256.
    """
    for snapshot in metadata.get("snapshots") or ():
        summary = snapshot.get("summary") or {}
        if str(summary.get(KEY_HASH, "")).startswith(ingest):
            return int(summary["added-records"])
    return None
