"""The age of a table from real Iceberg metadata, with moto's Glue, S3 and CloudWatch."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from moto import mock_aws
from pyiceberg.catalog.sql import SqlCatalog

from mlops_runtime.features.table_freshness import FreshnessError, FreshnessSettings, measure, table_age

NOW = datetime(2017, 8, 14, 6, tzinfo=UTC)
SETTINGS = FreshnessSettings(unit="demand", database="demand_features", tables=("stock_v1", "sales_v1"))


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Return an Iceberg table without rows."""
    catalog = SqlCatalog("test", uri="sqlite:///:memory:", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("f")
    return catalog.create_table("f.stock_v1", pa.schema([pa.field("x", pa.int64())]))


def _append(table: Any, newest: datetime | None) -> None:
    reported = {} if newest is None else {"mlops.event-time-max": newest.isoformat()}
    table.append(pa.table({"x": [1]}), snapshot_properties=reported)


def _metadata(table: Any) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path(table.metadata_location.removeprefix("file://")).read_text())
    return read


def test_a_table_that_never_had_a_row_has_no_age(table: Any) -> None:
    """The log reports it, and nothing is published."""
    age = table_age("stock_v1", _metadata(table), NOW)

    assert (age.age_seconds, age.event_time_max, age.reason) == (None, None, "no row has ever been ingested")


def test_the_age_is_that_of_the_newest_event(table: Any) -> None:
    """Uses the newest event so far in the last ingest's summary; the commit time is reported too."""
    for days in (3, 1):
        _append(table, NOW - timedelta(days=days))

    age = table_age("stock_v1", _metadata(table), NOW)

    assert age.age_seconds == 86400
    assert age.event_time_max == "2017-08-13T06:00:00+00:00"
    assert age.committed is not None
    assert abs(datetime.fromisoformat(age.committed) - datetime.now(UTC)) < timedelta(hours=1)


def test_a_table_whose_rows_are_all_gone_has_no_age(table: Any) -> None:
    """Snapshots of erased rows are ignored; the next row has an age."""
    _append(table, NOW - timedelta(days=1))
    table.delete("x == 1", snapshot_properties={"mlops.event-time-max": NOW.isoformat()})
    gone = table_age("stock_v1", _metadata(table), NOW)
    _append(table, NOW - timedelta(hours=1))

    assert (gone.age_seconds, gone.event_time_max) == (None, None)
    assert gone.reason == "the table has no rows: all of them were erased"
    assert table_age("stock_v1", _metadata(table), NOW).age_seconds == 3600


def test_an_event_ahead_of_the_clock_is_younger_than_none(table: Any) -> None:
    """A group with a lead may contain such events."""
    _append(table, NOW + timedelta(hours=1))

    assert table_age("stock_v1", _metadata(table), NOW).age_seconds == -3600


def test_compaction_makes_no_table_younger_or_silent(table: Any) -> None:
    """Its snapshot lacks the property, so the nearest ancestor with it counts."""
    _append(table, NOW - timedelta(days=2))
    _append(table, None)
    _append(table, None)

    age = table_age("stock_v1", _metadata(table), NOW)

    assert age.age_seconds == 2 * 86400


def test_only_ancestors_of_the_current_snapshot_count(table: Any) -> None:
    """Branches and rolled-back snapshots are not visible to readers."""
    _append(table, NOW - timedelta(days=2))
    first = table.current_snapshot().snapshot_id
    _append(table, NOW)
    table.manage_snapshots().set_current_snapshot(first).commit()

    assert table_age("stock_v1", _metadata(table), NOW).age_seconds == 2 * 86400


def test_rows_that_others_wrote_have_no_known_age(table: Any) -> None:
    """The message has the fix; the search does not end at an expired ancestor."""
    _append(table, None)
    metadata = _metadata(table)
    metadata["snapshots"][0]["parent-snapshot-id"] = 99

    age = table_age("stock_v1", metadata, NOW)

    assert age.age_seconds is None
    assert age.reason.startswith("no snapshot has mlops.event-time-max; ingest the next batch with FeatureStoreClient")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return clients of moto."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield {name: boto3.client(name) for name in ("glue", "s3", "cloudwatch")}


def _publish(aws: dict[str, Any], name: str, metadata: dict[str, Any], *, compressed: bool = False) -> None:
    body, key = json.dumps(metadata).encode(), f"demand_features/{name}/metadata/00001.metadata.json"
    if compressed:
        body, key = gzip.compress(body), key.replace(".metadata.json", ".gz.metadata.json")
    aws["s3"].put_object(Bucket="features", Key=key, Body=body)
    parameters = {"table_type": "ICEBERG", "metadata_location": f"s3://features/{key}"}
    aws["glue"].create_table(DatabaseName="demand_features", TableInput={"Name": name, "Parameters": parameters})


def _published(aws: dict[str, Any]) -> dict[str, float]:
    found = {}
    for metric in aws["cloudwatch"].list_metrics(Namespace="MLOps/demand")["Metrics"]:
        (dimension,) = metric["Dimensions"]
        assert (metric["MetricName"], dimension["Name"]) == ("FeatureAge", "FeatureGroup")
        (point,) = aws["cloudwatch"].get_metric_statistics(
            Namespace="MLOps/demand", MetricName="FeatureAge", Dimensions=[dimension], Statistics=["Minimum"], Period=3600,
            StartTime=NOW - timedelta(hours=1), EndTime=NOW + timedelta(hours=1),
        )["Datapoints"]  # fmt: skip
        assert point["Unit"] == "Seconds"
        found[dimension["Value"]] = point["Minimum"]
    return found


@pytest.fixture
def store(aws: dict[str, Any]) -> dict[str, Any]:
    """Return a bucket and a database in moto."""
    aws["s3"].create_bucket(Bucket="features")
    aws["glue"].create_database(DatabaseInput={"Name": "demand_features"})
    return aws


@pytest.mark.parametrize("compressed", [False, True])
def test_ages_are_published_in_the_units_namespace(store: dict[str, Any], table: Any, compressed: bool) -> None:
    """For tables with rows, at the event's time; metadata files may be compressed.

    See: https://iceberg.apache.org/spec/#naming-for-gzip-compressed-metadata-json-files
    """
    _publish(store, "sales_v1", _metadata(table))
    _append(table, NOW - timedelta(days=1))
    _publish(store, "stock_v1", _metadata(table), compressed=compressed)

    ages = measure(NOW, SETTINGS, **store)

    assert [(age.table, age.age_seconds) for age in ages] == [("stock_v1", 86400), ("sales_v1", None)]
    assert _published(store) == {"stock_v1": 86400}


def test_fails_for_a_table_that_cannot_be_read_after_the_others_were_published(
    store: dict[str, Any], table: Any
) -> None:
    """A broken table does not block others, and the error reaches the dead-letter queue."""
    _append(table, NOW - timedelta(hours=2))
    _publish(store, "sales_v1", _metadata(table))

    with pytest.raises(FreshnessError, match=r"no age of 1 of 2 tables: stock_v1: EntityNotFoundException"):
        measure(NOW, SETTINGS, **store)

    assert _published(store) == {"sales_v1": 7200}


def test_settings_come_from_the_environment() -> None:
    """Reads the variables that the construct sets."""
    environment = {"UNIT": "demand", "DATABASE": "demand_features", "TABLES": '["stock_v1", "sales_v1"]'}

    assert FreshnessSettings.from_environment(environment) == SETTINGS
