"""Ingest events on the unit's bus, as the pipeline's guard reads them, and the files of a rejected batch."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.events import EventDetail, features_ingested
from mlops_runtime.contracts.features import RejectedBatch
from mlops_runtime.features.batch_delivery import AnnounceError, Delivery, reject, unit_bus
from mlops_runtime.retraining.retraining_guard import GuardSettings, RetrainingMessage, event_from

NOW = datetime(2017, 8, 1, 9, tzinfo=UTC)
DETAIL = features_ingested("sales_v1", rows=12, ingest_id="0123abcd")


DELIVERED = datetime(2017, 1, 20, 12, tzinfo=UTC)


class _Events:
    """An EventBridge that accepts or rejects events."""

    def __init__(self, **failure: str) -> None:
        self.failure, self.entries = failure, list[dict[str, Any]]()

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - the API's own name
        self.entries += Entries
        return {"FailedEntryCount": len(self.failure) and 1, "Entries": [self.failure]}


def test_the_guard_counts_what_was_told_once() -> None:
    """Two events of one ingest count once, by the ingest's id and not EventBridge's."""
    events = _Events()
    announce = unit_bus(events, bus="demand-bus", unit="demand")
    announce(DETAIL)
    announce(DETAIL)
    settings = GuardSettings(
        pipeline="demand-forecast",
        machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:Retrain",
        alarms=(),
        cool_down=86_400,
        daily_budget=2,
        minimum_labels=10,
        label_table="sales_v1",
    )

    read = []
    for number, entry in enumerate(events.entries):
        assert entry["EventBusName"] == "demand-bus"
        event = {
            "id": f"event-{number}",
            "source": entry["Source"],
            "detail-type": entry["DetailType"],
            "time": NOW.isoformat(),
            "account": "123456789012",
            "region": "us-east-1",
            "detail": json.loads(entry["Detail"]),
        }
        requested = event_from(json.dumps(event), settings=settings, now=NOW)
        assert isinstance(requested, RetrainingMessage)
        read.append((requested.event_id, requested.ingest))

    assert read == [("sales_v1/0123abcd", "0123abcd")] * 2


def test_fails_when_the_bus_does_not_take_it() -> None:
    """The error reports that the rows are committed, and the fix."""
    announce = unit_bus(_Events(ErrorCode="InternalFailure", ErrorMessage="try later"), bus="demand-bus", unit="demand")
    with pytest.raises(
        AnnounceError, match=r"'demand-bus' did not accept .* sales_v1: InternalFailure: try later; repeat .*"
    ):
        announce(DETAIL)


def test_a_client_tells_each_ingest_and_an_earlier_one_again(shop: Any) -> None:
    """If a client dies between commit and event, the next attempt sends the event under the same id."""
    reported: list[EventDetail] = []
    client = shop.new_client(announce=reported.append)
    client.ingest(shop.STOCK, shop.stock((1, 5, 1), (2, 6, 2)))
    assert client.ingest(shop.STOCK, shop.stock((1, 5, 1), (2, 6, 2))).duplicate
    client.ingest(shop.STOCK, shop.stock((3, 7, 3)))

    assert [(t.subject, t.attributes) for t in reported] == [("stock_v1", {"rows": n}) for n in ("2", "2", "1")]
    assert reported[0].id == reported[1].id != reported[2].id


def _delivery(path: str = "incoming/stock_v1/a.parquet", etag: str = "9b2c") -> Delivery:
    return Delivery(bucket="batches", path=path, etag=etag, bytes=7, now=DELIVERED)


@pytest.fixture
def s3() -> Iterator[Any]:
    """Return an S3 client with the bucket."""
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
    """Each object has its own report, even if it is not a batch."""
    delivery = _delivery(path)

    assert (delivery.table, delivery.key, delivery.report_path) == (table, key, report)
    assert delivery.uri == f"s3://batches/{path}"


def test_a_rejection_writes_the_report_before_it_tells(s3: Any) -> None:
    """The report with all problems exists before the event is sent."""
    seen = list[tuple[EventDetail, RejectedBatch]]()

    def publish(detail: EventDetail) -> None:
        answer = s3.get_object(Bucket="batches", Key=detail.attributes["report_uri"].removeprefix("s3://batches/"))
        seen.append((detail, from_json(RejectedBatch, answer["Body"].read())))

    reject(_delivery(), "x" * 3000, ["one", "two"], s3=s3, publish=publish)

    ((detail, report),) = seen
    assert report.problems == ("one", "two")
    assert detail.reason == "x" * 2000 + "..."


def test_the_id_of_a_rejection_is_that_of_the_object(s3: Any) -> None:
    """A repeated rejection has the same id; another object under the key has another."""
    ids = list[str]()
    for etag in ("9b2c", "9b2c", "77aa"):
        reject(_delivery(etag=etag), "bad", ["bad"], s3=s3, publish=lambda detail: ids.append(detail.id))

    assert ids[0] == ids[1] != ids[2]
