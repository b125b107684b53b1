"""Age of each feature table's newest event, from the summaries of its Iceberg snapshots; no rows are read.

An ingest writes the newest event time of the whole table into its snapshot's summary. Compaction creates snapshots without it; then
the nearest ancestor with it counts, since compaction adds no events.

See: https://iceberg.apache.org/spec/#snapshots
"""

import gzip
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts.monitor import metric_namespace

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_s3 import S3Client

METRIC = "FeatureAge"
DIMENSION = "FeatureGroup"
EVENT_TIME_MAX = "mlops.event-time-max"
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
_MOST_METRICS = 1000

_log = logging.getLogger("mlops.features")


class FreshnessError(RuntimeError):
    """The age of some tables could not be measured; the others were published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessSettings:
    """Environment of ``feature_freshness``: unit, Glue database, and the tables to measure."""

    unit: str
    database: str
    tables: tuple[str, ...]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "FreshnessSettings":
        """Read ``UNIT``, ``DATABASE`` and ``TABLES`` (JSON list)."""
        return cls(
            unit=environment["UNIT"], database=environment["DATABASE"], tables=tuple(json.loads(environment["TABLES"]))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAge:
    """The age of one table."""

    table: str
    # seconds since the newest event, negative for an event in the future; None without an event
    age_seconds: float | None = None
    event_time_max: str | None = None  # the newest event time
    committed: str | None = None  # commit time of the snapshot with the newest event time
    reason: str = ""  # why there is no age, and the fix; empty if there is one


def table_age(table: str, metadata: Mapping[str, Any], now: datetime) -> TableAge:
    """Return the age of a table at a time by its Iceberg metadata file (v2), as read from JSON.

    Raises:
        ValueError: If the summary's value is not a time.

    Example:
        >>> snapshot = {"snapshot-id": 1, "timestamp-ms": 0, "summary": {"mlops.event-time-max": "2017-08-07T00:00:00+00:00"}}
        >>> metadata = {"current-snapshot-id": 1, "snapshots": [snapshot]}
        >>> table_age("stock_v1", metadata, datetime(2017, 8, 7, 1, tzinfo=UTC)).age_seconds
        3600.0
    """
    snapshots = {snapshot["snapshot-id"]: snapshot for snapshot in metadata.get("snapshots") or []}
    current = snapshots.get(metadata.get("current-snapshot-id"))
    if current is None:
        return TableAge(table=table, reason="no row has ever been ingested")
    if (current.get("summary") or {}).get("total-records") == "0":
        # the newest event time in earlier summaries is of erased rows
        return TableAge(table=table, reason="the table has no rows: all of them were erased")
    for snapshot in _line_of(current, snapshots):
        newest = (snapshot.get("summary") or {}).get(EVENT_TIME_MAX)
        if newest is not None:
            at = datetime.fromisoformat(newest)
            return TableAge(
                table=table,
                age_seconds=(now - at).total_seconds(),
                event_time_max=newest,
                committed=datetime.fromtimestamp(snapshot["timestamp-ms"] / 1000, UTC).isoformat(),
            )
    return TableAge(
        table=table,
        reason=f"no snapshot has {EVENT_TIME_MAX}; ingest the next batch with FeatureStoreClient or the store's own jobs",
    )


def measure(
    now: datetime, settings: FreshnessSettings, *, glue: "GlueClient", s3: "S3Client", cloudwatch: "CloudWatchClient"
) -> tuple[TableAge, ...]:
    """Measure every table and publish ``FeatureAge`` of tables that have an age.

    Raises:
        FreshnessError: If a table could not be read; the others are published first.
    """
    ages, problems = [], []
    for table in settings.tables:
        try:
            ages.append(table_age(table, read_metadata(settings.database, table, glue, s3), now))
        except Exception as error:
            _log.exception("table %s", table)
            problems.append(f"{table}: {type(error).__name__}: {error}")
    data = list(_metric_data(ages, now))
    for start in range(0, len(data), _MOST_METRICS):
        cloudwatch.put_metric_data(
            Namespace=metric_namespace(settings.unit),
            MetricData=data[start : start + _MOST_METRICS],  # type: ignore[arg-type] # plain dicts
        )
    for age in ages:
        _log.info(json.dumps(asdict(age)))
    if problems:
        raise FreshnessError(f"no age of {len(problems)} of {len(settings.tables)} tables: {'; '.join(problems)}")
    return tuple(ages)


def _line_of(snapshot: Mapping[str, Any], snapshots: Mapping[int, Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Yield a snapshot and its existing ancestors, newest first."""
    found: Mapping[str, Any] | None = snapshot
    while found is not None:
        yield found
        parent = found.get("parent-snapshot-id")
        found = None if parent is None else snapshots.get(parent)


def _metric_data(ages: Iterable[TableAge], now: datetime) -> Iterable[dict[str, object]]:
    for age in ages:
        if age.age_seconds is not None:
            yield {
                "MetricName": METRIC,
                "Dimensions": [{"Name": DIMENSION, "Value": age.table}],
                "Timestamp": now,
                "Value": age.age_seconds,
                "Unit": "Seconds",
            }


def read_metadata(database: str, table: str, glue: "GlueClient", s3: "S3Client") -> Mapping[str, Any]:
    """Return the content of a table's metadata file."""
    return read_metadata_file(
        glue.get_table(DatabaseName=database, Name=table)["Table"]["Parameters"]["metadata_location"], s3
    )


def read_metadata_file(location: str, s3: "S3Client") -> Mapping[str, Any]:
    """Return the content of a metadata file, given its ``s3://`` URI."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    # https://iceberg.apache.org/spec/#naming-for-gzip-compressed-metadata-json-files
    read: Mapping[str, Any] = json.loads(gzip.decompress(body) if ".gz." in key.rpartition("/")[2] else body)
    return read
