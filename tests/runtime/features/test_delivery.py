"""A delivered batch, and what its rejection leaves."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.events import EventDetail
from mlops_runtime.contracts.ingest import RejectedBatch
from mlops_runtime.features.delivery import Delivery, reject

NOW = datetime(2017, 1, 20, 12, tzinfo=UTC)


def _delivery(path: str = "incoming/stock_v1/a.parquet", etag: str = "9b2c") -> Delivery:
    return Delivery(bucket="batches", path=path, etag=etag, bytes=7, now=NOW)


@pytest.fixture
def s3() -> Iterator[Any]:
    """S3 in process, with the bucket."""
    with mock_aws():
        client = boto3.client("s3", "us-east-1")
        client.create_bucket(Bucket="batches")
        yield client


@pytest.mark.parametrize(
    ("path", "table", "key", "report"),
    [
        ("incoming/stock_v1/a.parquet", "stock_v1", "a", "rejected/stock_v1/a.json"),
        ("incoming/stock_v1/run/part-0.parquet", "stock_v1", "run/part-0", "rejected/stock_v1/run/part-0.json"),
        ("incoming/stock_v1/a.csv", "stock_v1", "a.csv", "rejected/stock_v1/a.csv.json"),
        ("incoming/a.parquet", "a.parquet", "", "rejected/a.json"),
    ],
)
def test_a_path_says_table_and_key(path: str, table: str, key: str, report: str) -> None:
    """Each object has its own report, also one that is no batch."""
    delivery = _delivery(path)

    assert (delivery.table, delivery.key, delivery.report_path) == (table, key, report)
    assert delivery.uri == f"s3://batches/{path}"


def test_a_rejection_writes_the_report_before_it_tells(s3: Any) -> None:
    """Whoever hears the event finds the report, with every problem."""
    seen = list[tuple[EventDetail, RejectedBatch]]()

    def tell(detail: EventDetail) -> None:
        answer = s3.get_object(Bucket="batches", Key=detail.attributes["report_uri"].removeprefix("s3://batches/"))
        seen.append((detail, from_json(RejectedBatch, answer["Body"].read())))

    reject(_delivery(), "x" * 3000, ["one", "two"], s3=s3, tell=tell)

    ((detail, report),) = seen
    assert report.problems == ("one", "two")
    assert detail.reason == "x" * 2000 + "..."


def test_the_id_of_a_rejection_is_that_of_the_object(s3: Any) -> None:
    """Told again it is the same event; another object under the key is another."""
    ids = list[str]()
    for etag in ("9b2c", "9b2c", "77aa"):
        reject(_delivery(etag=etag), "bad", ["bad"], s3=s3, tell=lambda detail: ids.append(detail.id))

    assert ids[0] == ids[1] != ids[2]
