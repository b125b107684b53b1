"""Batches as S3 objects (moto, in process), with tables in a folder."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import pytest
from moto import mock_aws

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.events import EventDetail
from mlops_runtime.contracts.features import RejectedBatch
from mlops_runtime.features.batch_delivery import Delivery
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.group_json import declaration_json
from mlops_runtime.features.incoming import DeliveryError, IncomingBatches, Limits, Outcome, glue_job
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.lambda_protocol import Message

STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand", minimum=0),),
    owner="demand",
    description="stock",
)
BUCKET = "incoming-batches"
NOW = datetime(2017, 1, 20, 12, tzinfo=UTC)
LIMITS = Limits(bytes=100_000, rows=500)


def _rows(*on_hand: int, stores: int = 0) -> pa.Table:
    numbers = range(len(on_hand) or stores)
    return pa.table(
        {
            "store_id": [str(n) for n in numbers],
            "event_time": [NOW - timedelta(days=1)] * len(numbers),
            "on_hand": pa.array(on_hand or [1] * stores, pa.int64()),
        }
    )


def _parquet(rows: pa.Table) -> bytes:
    target = io.BytesIO()
    pq.write_table(rows, target)
    return target.getvalue()


class _World:
    """A bucket, a store, and the sent events."""

    def __init__(self, folder: Path) -> None:
        self.s3 = boto3.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.folder = folder
        self.ingested = list[EventDetail]()
        self.rejected = list[EventDetail]()
        self.handed_over = list[Delivery]()

    def store(self, now: datetime) -> FeatureStoreClient:
        return FeatureStoreClient.local(self.folder, now=lambda: now, announce=self.ingested.append)

    def batches(self, *, limits: Limits = LIMITS, large: bool = False) -> IncomingBatches:
        return IncomingBatches(
            self.s3,
            bucket=BUCKET,
            groups=[STOCK],
            limits=limits,
            open_store=self.store,
            publish=self.rejected.append,
            large=self.handed_over.append if large else None,
        )

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def deliver(self, key: str, *, after: float = 0, bucket: str = BUCKET, **changes: Any) -> Outcome:
        """Deliver the event of an object the given number of seconds after ``NOW``."""
        detail = {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "etag": "not-it"}}
        message = Message(
            id="m", body=json.dumps({"source": "aws.s3", "detail": detail}), sent=NOW + timedelta(seconds=after)
        )
        return self.batches(**changes).handle(message)

    def report(self, key: str) -> RejectedBatch:
        return from_json(RejectedBatch, self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def table(self) -> pa.Table:
        return self.store(NOW + timedelta(days=1)).table("stock_v1").scan().to_arrow()

    def objects(self) -> list[str]:
        return [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_World]:
    """Return the world with everything in process."""
    for name, value in (("DEFAULT_REGION", "us-east-1"), ("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield _World(tmp_path)


def test_a_batch_is_ingested_at_the_time_of_its_message(world: _World) -> None:
    """The store's clock is the time when the queue received the event; the ingest sends an event."""
    world.put("incoming/stock_v1/2017-01-19.parquet", _parquet(_rows(7, 8)))

    assert world.deliver("incoming/stock_v1/2017-01-19.parquet", after=3) is Outcome.INGESTED

    assert sorted(world.table()["on_hand"].to_pylist()) == [7, 8]
    assert set(world.table()["created_time"].to_pylist()) == {NOW + timedelta(seconds=3)}
    assert [(detail.subject, detail.attributes["rows"]) for detail in world.ingested] == [("stock_v1", "2")]
    assert world.objects() == ["incoming/stock_v1/2017-01-19.parquet"]


def test_a_batch_that_is_delivered_again_has_no_second_effect(world: _World) -> None:
    """A repeated event and the same rows in another file are duplicates; the ingest's event is sent again."""
    world.put("incoming/stock_v1/a.parquet", _parquet(_rows(7, 8)))
    world.deliver("incoming/stock_v1/a.parquet")
    before = world.table()

    assert world.deliver("incoming/stock_v1/a.parquet", after=600) is Outcome.DUPLICATE
    world.put("incoming/stock_v1/a.parquet", _parquet(_rows(7, 8).take([1, 0])))
    assert world.deliver("incoming/stock_v1/a.parquet", after=900) is Outcome.DUPLICATE

    assert world.table() == before
    assert len({detail.id for detail in world.ingested}) == 1
    assert world.rejected == []


def test_a_key_in_a_folder_is_a_key(world: _World) -> None:
    """Writers such as Spark write parts in a folder."""
    world.put("incoming/stock_v1/run-1/part-0.parquet", _parquet(_rows(7)))
    world.put("incoming/stock_v1/run-2/part-0.parquet", _parquet(_rows(8)))

    outcomes = [world.deliver(f"incoming/stock_v1/run-{n}/part-0.parquet") for n in (1, 2)]

    assert outcomes == [Outcome.INGESTED, Outcome.INGESTED]
    assert sorted(world.table()["on_hand"].to_pylist()) == [7, 8]


def test_fails_on_a_bad_batch_with_every_problem(world: _World) -> None:
    """The table is unchanged, the object stays, report and event give the reason, and the message is consumed."""
    world.put("incoming/stock_v1/good.parquet", _parquet(_rows(1)))
    world.deliver("incoming/stock_v1/good.parquet")
    before = world.table()
    bad = _rows(5, -3).append_column("extra", pa.array(["x", "y"])).drop_columns(["event_time"])
    world.put("incoming/stock_v1/bad.parquet", _parquet(bad))

    assert world.deliver("incoming/stock_v1/bad.parquet") is Outcome.REJECTED

    assert world.table() == before
    assert "incoming/stock_v1/bad.parquet" in world.objects()
    report = world.report("rejected/stock_v1/bad.json")
    assert (report.table, report.key, report.rejected_at) == ("stock_v1", "bad", "2017-01-20T12:00:00.000+00:00")
    assert report.etag == world.s3.head_object(Bucket=BUCKET, Key="incoming/stock_v1/bad.parquet")["ETag"].strip('"')
    assert "column 'event_time' is missing" in report.problems
    assert any("column 'extra' is not declared" in problem for problem in report.problems)
    (reported,) = world.rejected
    assert (reported.subject, reported.outcome) == ("stock_v1", "REJECTED")
    assert reported.reason == f"batch for stock_v1: {'; '.join(report.problems)}"
    assert reported.attributes == {
        "uri": f"s3://{BUCKET}/incoming/stock_v1/bad.parquet",
        "report_uri": f"s3://{BUCKET}/rejected/stock_v1/bad.json",
    }


def test_a_rejection_that_is_delivered_again_is_the_same(world: _World) -> None:
    """A repeated rejection has the same id; a corrected object under the same key is ingested."""
    world.put("incoming/stock_v1/a.parquet", _parquet(_rows(-1)))
    world.deliver("incoming/stock_v1/a.parquet")
    world.deliver("incoming/stock_v1/a.parquet", after=60)
    assert len({detail.id for detail in world.rejected}) == 1

    world.put("incoming/stock_v1/a.parquet", _parquet(_rows(1)))

    assert world.deliver("incoming/stock_v1/a.parquet", after=90) is Outcome.INGESTED


def test_fails_on_a_key_with_other_rows(world: _World) -> None:
    """The first rows stay; the second batch's report names the first use of its key."""
    world.put("incoming/stock_v1/a.parquet", _parquet(_rows(7)))
    world.deliver("incoming/stock_v1/a.parquet")
    world.put("incoming/stock_v1/a.parquet", _parquet(_rows(9)))

    assert world.deliver("incoming/stock_v1/a.parquet", after=60) is Outcome.REJECTED

    assert world.table()["on_hand"].to_pylist() == [7]
    assert "idempotency key 'a' of stock_v1 was used" in world.report("rejected/stock_v1/a.json").problems[0]


def _csv() -> bytes:
    target = io.BytesIO()
    pc_csv.write_csv(_rows(1), target)
    return target.getvalue()


@pytest.mark.parametrize(
    ("key", "body", "report", "problem"),
    [
        ("incoming/sales_v1/a.parquet", _parquet(_rows(1)), "rejected/sales_v1/a.json", "must be one of stock_v1, got 'sales_v1'"),
        ("incoming/stock_v1/a.csv", _csv(), "rejected/stock_v1/a.csv.json", "a batch must be Parquet, which preserves types"),
        ("incoming/stock_v1/.parquet", _parquet(_rows(1)), "rejected/stock_v1/.json", "must be an idempotency key before .parquet"),
        ("incoming/a.parquet", _parquet(_rows(1)), "rejected/a.json", "table must be one of stock_v1, got 'a.parquet'"),
        ("incoming/stock_v1/a.parquet", b"", "rejected/stock_v1/a.json", "it cannot be read as Parquet"),
        ("incoming/stock_v1/a.parquet", _csv(), "rejected/stock_v1/a.json", "it cannot be read as Parquet"),
        ("incoming/stock_v1/a.parquet", _parquet(_rows(1))[:-9], "rejected/stock_v1/a.json", "it cannot be read as Parquet"),
        ("incoming/stock_v1/a.parquet", _parquet(_rows(1).slice(0, 0)), "rejected/stock_v1/a.json", "it has no rows"),
    ],
)  # fmt: skip
def test_fails_on_what_is_no_batch(world: _World, key: str, body: bytes, report: str, problem: str) -> None:
    """Each is rejected by name without writing."""
    world.put(key, body)

    assert world.deliver(key) is Outcome.REJECTED

    assert problem in world.report(report).problems[0]
    assert problem in world.rejected[0].reason
    assert world.ingested == []


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (Limits(bytes=10_000, rows=99), r"it has 100 rows and \d+ bytes decompressed, the limits are 99 rows and 10000 bytes"),
        (Limits(bytes=600, rows=1000), r"it has \d+ bytes, the limit is 600"),
    ],
)  # fmt: skip
def test_fails_on_a_batch_that_is_too_large(world: _World, limits: Limits, problem: str) -> None:
    """It is not decoded; the report names the alternative."""
    world.put("incoming/stock_v1/a.parquet", _parquet(_rows(stores=100)))

    assert world.deliver("incoming/stock_v1/a.parquet", limits=limits) is Outcome.REJECTED

    (text,) = world.report("rejected/stock_v1/a.json").problems
    assert pa.compute.match_substring_regex(pa.array([text]), problem).to_pylist() == [True]
    assert "split it, or give the feature store a Glue job" in text


def test_what_is_small_in_its_object_may_be_large_in_memory(world: _World) -> None:
    """Zeros compress well; the footer has the size in memory."""
    rows = pa.table({"store_id": pa.array(["x" * 1000 + str(n) for n in range(400)])})
    target = io.BytesIO()
    pq.write_table(rows, target, compression="zstd", use_dictionary=False)
    assert len(target.getvalue()) < LIMITS.bytes
    world.put("incoming/stock_v1/a.parquet", target.getvalue())

    assert world.deliver("incoming/stock_v1/a.parquet") is Outcome.REJECTED

    assert "bytes decompressed" in world.report("rejected/stock_v1/a.json").problems[0]


@pytest.mark.parametrize("large", [False, True])
def test_a_dictionary_does_not_pass_the_limits(world: _World, large: bool) -> None:
    """A string stored once and referenced by each row: 300 bytes of pages, 5 MB of rows."""
    value = pa.DictionaryArray.from_arrays(pa.array([0] * 500, pa.int32()), pa.array(["x" * 10_000]))
    body = _parquet(
        pa.table({**{name: _rows(stores=500)[name] for name in ("event_time", "on_hand")}, "store_id": value})
    )
    assert len(body) < LIMITS.bytes
    world.put("incoming/stock_v1/a.parquet", body)

    outcome = world.deliver("incoming/stock_v1/a.parquet", large=large)

    assert outcome is (Outcome.JOB_STARTED if large else Outcome.REJECTED)
    if not large:
        (problem,) = world.report("rejected/stock_v1/a.json").problems
        assert "it has at least 5010000 bytes decoded, the limit is 300000" in problem
    assert world.ingested == []


def test_a_batch_whose_size_nobody_knows_is_rejected(world: _World) -> None:
    """Rejects delta-encoded strings by the name of the column."""
    target = io.BytesIO()
    pq.write_table(_rows(7), target, use_dictionary=False, column_encoding={"store_id": "DELTA_BYTE_ARRAY"})
    world.put("incoming/stock_v1/a.parquet", target.getvalue())

    assert world.deliver("incoming/stock_v1/a.parquet", large=True) is Outcome.REJECTED

    assert "column 'store_id' is encoded as DELTA_BYTE_ARRAY" in world.report("rejected/stock_v1/a.json").problems[0]


def test_a_batch_that_is_too_large_is_handed_over(world: _World) -> None:
    """If there is a job for it, the function itself writes nothing."""
    world.put("incoming/stock_v1/a.parquet", _parquet(_rows(stores=100)))

    outcome = world.deliver("incoming/stock_v1/a.parquet", limits=Limits(bytes=10_000, rows=99), large=True)

    assert outcome is Outcome.JOB_STARTED
    (delivery,) = world.handed_over
    assert (delivery.table, delivery.key, delivery.now) == ("stock_v1", "a", NOW)
    assert (world.rejected, world.ingested) == ([], [])


def test_what_is_nobodys_fault_is_raised(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the bus rejects an event, the queue redelivers the message and the event is sent then."""
    world.put("incoming/stock_v1/a.parquet", _parquet(_rows(7)))

    def refuse(_: EventDetail) -> None:
        raise ConnectionError("later")

    with monkeypatch.context() as patched:
        patched.setattr(world, "ingested", type("Refusing", (), {"append": staticmethod(refuse)})())
        with pytest.raises(ConnectionError, match="later"):
            world.deliver("incoming/stock_v1/a.parquet")

    assert world.deliver("incoming/stock_v1/a.parquet") is Outcome.DUPLICATE
    assert len(world.ingested) == 1


@pytest.mark.parametrize("key", ["rejected/stock_v1/a.json", "elsewhere/a.parquet"])
def test_fails_on_an_object_that_lies_elsewhere(world: _World, key: str) -> None:
    """Its own reports are not batches."""
    with pytest.raises(DeliveryError, match=f"batches must be in s3://{BUCKET}/incoming/, got s3://{BUCKET}/{key}"):
        world.deliver(key)


def test_fails_on_another_bucket(world: _World) -> None:
    """Only objects of the configured bucket are read, whatever an event names."""
    with pytest.raises(DeliveryError, match=r"got s3://other/incoming/stock_v1/a\.parquet"):
        world.deliver("incoming/stock_v1/a.parquet", bucket="other")


@pytest.mark.parametrize("body", ["{", "[]", '{"detail": {"bucket": {"name": "b"}}}', '{"detail": null}'])
def test_fails_on_a_message_without_an_object(world: _World, body: str) -> None:
    """It reaches the dead-letter queue for inspection."""
    with pytest.raises(DeliveryError, match="the message does not name an object"):
        world.batches().handle(Message(id="m", body=body, sent=NOW))


def test_an_object_that_is_gone_is_raised(world: _World) -> None:
    """Its content is unknown."""
    with pytest.raises(world.s3.exceptions.NoSuchKey):
        world.deliver("incoming/stock_v1/gone.parquet")


def test_settings_come_from_the_environment(world: _World, tmp_path: Path) -> None:
    """The declaration is a file next to the handler."""
    (tmp_path / "groups.json").write_text(declaration_json([STOCK]))
    events = boto3.client("events", "us-east-1")
    events.create_event_bus(Name="demand-bus")
    batches = IncomingBatches.from_environment(
        {
            "DATABASE": "demand_features",
            "INCOMING_BUCKET": BUCKET,
            "DECLARATION": "groups.json",
            "MAXIMUM_MIB": "1",
            "MAXIMUM_ROWS": "500",
            "UNIT": "demand",
            "EVENT_BUS": "demand-bus",
        },
        tmp_path,
        s3=world.s3,
        events=events,
        glue=boto3.client("glue", "us-east-1"),
    )
    world.put("incoming/stock_v1/a.parquet", _parquet(_rows(stores=501)))
    body = json.dumps({"detail": {"bucket": {"name": BUCKET}, "object": {"key": "incoming/stock_v1/a.parquet"}}})

    assert batches.handle(Message(id="m", body=body, sent=NOW)) is Outcome.REJECTED
    assert "the limits are 500 rows and 1048576 bytes" in world.report("rejected/stock_v1/a.json").problems[0]


def test_a_job_is_told_what_was_delivered(world: _World) -> None:
    """The arguments are those of the job's module; a failed start is raised, so that the queue retries."""
    glue = boto3.client("glue", "us-east-1")
    start = glue_job(glue, "demand-ingest")
    delivery = Delivery(bucket=BUCKET, path="incoming/stock_v1/a.parquet", etag="e", bytes=1, now=NOW)
    with pytest.raises(glue.exceptions.EntityNotFoundException):
        start(delivery)
    glue.create_job(Name="demand-ingest", Role="r", Command={"Name": "glueetl"})

    start(delivery)

    (run,) = glue.get_job_runs(JobName="demand-ingest")["JobRuns"]
    assert run["JobName"] == "demand-ingest"
