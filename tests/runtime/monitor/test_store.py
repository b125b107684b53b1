"""Keys and windows in S3 (moto, in process)."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.runtime.monitor.timeline import MemoryS3

from mlops_runtime.contracts import ContractError, canonical_json, content_hash
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counting.counts import empty
from mlops_runtime.monitor.store import BaselineIntegrityError, MonitorStore
from mlops_runtime.monitor.window import Window

WINDOW = Window(datetime(2017, 8, 7, 10, tzinfo=UTC), datetime(2017, 8, 9, 1, tzinfo=UTC))


@pytest.fixture
def s3() -> Iterator[Any]:
    """Return a client with two empty buckets."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        for bucket in ("artifacts", "captures"):
            client.create_bucket(Bucket=bucket)
        yield client


@pytest.fixture
def store(s3: Any) -> MonitorStore:
    """Return the store of one endpoint."""
    return MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts", captures="captures")


def test_a_capture_object_has_one_place_for_its_counts(store: MonitorStore) -> None:
    """The key depends only on the object; other objects have none."""
    key = "capture/demand-forecast/AllTraffic/2017/08/07/10/a-1.jsonl"
    assert store.counts_key(key) == "monitor/demand-forecast/counts/AllTraffic/2017/08/07/10/a-1.json"
    against = store.counts_key(key, "0123456789abcdef" * 4)
    assert against == "monitor/demand-forecast/counts/AllTraffic/2017/08/07/10/a-1.baseline-0123456789abcdef.json"
    assert store.counts_key("labels/demand-forecast/2017/08/07/10/a.jsonl") is None
    assert store.counts_key("capture/demand-pricing/AllTraffic/2017/08/07/10/a.jsonl") is None
    assert store.counts_key(f"{key}.tmp") is None
    assert store.counts_key("capture/demand-forecast/AllTraffic/stray.jsonl") is None
    assert store.capture_key(against) == key


def test_a_window_lists_its_hours_only(s3: Any, store: MonitorStore) -> None:
    """The first hour is included and the end excluded, across days; other objects are ignored."""
    hours = ["2017/08/07/09", "2017/08/07/10", "2017/08/08/23", "2017/08/09/00", "2017/08/09/01", "2017/08/08/xx"]
    for hour in hours:
        s3.put_object(Bucket="captures", Key=f"capture/demand-forecast/AllTraffic/{hour}/a.jsonl", Body=b"1\n2")
        s3.put_object(Bucket="captures", Key=f"labels/demand-forecast/{hour}/l.jsonl", Body=hour.encode())
    prefix = "capture/demand-forecast/AllTraffic"
    assert store.capture_keys("AllTraffic", WINDOW) == [f"{prefix}/{hour}/a.jsonl" for hour in hours[1:4]]
    uploaded = store.label_hours(WINDOW)
    assert [key for _, _, key in uploaded] == [f"labels/demand-forecast/{hour}/l.jsonl" for hour in hours[1:4]]
    assert uploaded[1][0] == datetime(2017, 8, 8, 23, tzinfo=UTC)
    assert [line for _, _, key in uploaded for line in store.object_lines(key)] == [h.encode() for h in hours[1:4]]


def test_labels_of_an_hour_come_in_the_order_of_their_upload() -> None:
    """A correction within the hour is newer, whatever its name."""
    s3: Any = MemoryS3()
    for name in "za":
        s3.put_object(Bucket="captures", Key=f"labels/e/2017/08/08/00/{name}.jsonl", Body=b"")
    store = MonitorStore(s3, endpoint="e", artifacts="artifacts", captures="captures")
    assert [key[-7:] for _, _, key in store.label_hours(WINDOW)] == ["z.jsonl", "a.jsonl"]
    assert store.has_labels()
    assert not MonitorStore(s3, endpoint="other", artifacts="artifacts", captures="captures").has_labels()


def test_counts_come_back(store: MonitorStore, baseline: Baseline) -> None:
    """Counts written in a window are read back from it."""
    key = "monitor/demand-forecast/counts/AllTraffic/2017/08/08/00/a.json"
    store.put_counts(key, empty(baseline))
    assert list(store.counts([key])) == [empty(baseline)]
    assert store.counts_by_hour("AllTraffic", WINDOW) == {datetime(2017, 8, 8, tzinfo=UTC): {key: [key]}}


def test_an_object_has_counts_against_each_baseline(s3: Any, store: MonitorStore, baseline: Baseline) -> None:
    """Prefers counts of the requested baseline, then another's, in order of the objects; also reads names without a hash."""
    capture = "capture/demand-forecast/AllTraffic/2017/08/08/00/{}.jsonl"
    own, other = empty(baseline), replace(empty(baseline), baseline_sha256="f" * 64)
    names = [f"o{number:03}" for number in range(150)]
    for name in names:
        plain = str(store.counts_key(capture.format(name)))
        store.put_counts(plain, other)
        if name != "o007":
            store.put_counts(str(store.counts_key(capture.format(name), own.baseline_sha256)), own)
    s3.put_object(Bucket="artifacts", Key=str(store.counts_key(capture.format("o009"))), Body=b"{}")
    store.put_counts(str(store.counts_key(capture.format("before"))), own)
    s3.put_object(Bucket="artifacts", Key=str(store.counts_key(capture.format("broken"))), Body=b"{}")
    [objects] = store.counts_by_hour("AllTraffic", WINDOW).values()
    assert sorted(objects) == sorted(
        str(store.counts_key(capture.format(name))) for name in [*names, "before", "broken"]
    )
    found = dict(zip(objects, store.counts_against(own.baseline_sha256, list(objects.values())), strict=True))
    assert isinstance(found.pop(str(store.counts_key(capture.format("broken")))), ContractError)
    assert found.pop(str(store.counts_key(capture.format("o007")))) == other
    assert set(map(repr, found.values())) == {repr(own)}


def test_a_baseline_is_read_once(s3: Any, store: MonitorStore, baseline: Baseline) -> None:
    """A warm function caches the baseline, which never changes for an execution."""
    s3.put_object(Bucket="artifacts", Key="evaluations/p/e/baseline.json", Body=canonical_json(baseline))
    uri = "s3://artifacts/evaluations/p/e/baseline.json"
    first = store.baseline(uri, content_hash(baseline))
    s3.delete_object(Bucket="artifacts", Key="evaluations/p/e/baseline.json")
    assert store.baseline(uri, content_hash(baseline)) is first
    assert first == baseline


def test_a_baseline_that_is_not_the_approved_one_cannot_be_used(
    s3: Any, store: MonitorStore, baseline: Baseline
) -> None:
    """Rejects a baseline with another hash, a missing one and an invalid one; the approved one is read."""
    uri, key, body = "s3://artifacts/b.json", "b.json", canonical_json(baseline)
    approved = hashlib.sha256(body).hexdigest()
    with pytest.raises(BaselineIntegrityError, match=r"the baseline s3://artifacts/b\.json is missing"):
        store.read_baseline(uri, approved)
    s3.put_object(Bucket="artifacts", Key=key, Body=body)
    assert store.read_baseline(uri, approved) == baseline
    s3.put_object(Bucket="artifacts", Key=key, Body=body + b" ")
    with pytest.raises(
        BaselineIntegrityError, match=f"was changed: it has SHA-256 [0-9a-f]{{64}}, approved was {approved}"
    ):
        store.read_baseline(uri, approved)
    s3.put_object(Bucket="artifacts", Key=key, Body=b"{}")
    with pytest.raises(BaselineIntegrityError, match="cannot be read: not a valid Baseline"):
        store.read_baseline(uri, hashlib.sha256(b"{}").hexdigest())


def test_a_window_is_shown_with_the_baseline_that_it_was_decided_against(
    s3: Any, store: MonitorStore, baseline: Baseline
) -> None:
    """Matched by content, in any JSON formatting; others are rejected."""
    uri, digest = "s3://artifacts/b.json", content_hash(baseline)
    s3.put_object(Bucket="artifacts", Key="b.json", Body=canonical_json(baseline) + b"\n")
    assert store.decided_baseline(uri, digest) == baseline
    s3.put_object(Bucket="artifacts", Key="b.json", Body=canonical_json(replace(baseline, rows=baseline.rows + 1)))
    with pytest.raises(BaselineIntegrityError, match="was changed after this window was decided"):
        store.decided_baseline(uri, digest)
    s3.put_object(Bucket="artifacts", Key="b.json", Body=b"{}")
    with pytest.raises(BaselineIntegrityError, match="cannot be read: not a valid Baseline"):
        store.decided_baseline(uri, digest)


def test_violations_lie_below_the_hour_in_which_their_window_ends(s3: Any, store: MonitorStore) -> None:
    """The key is in the partition that Athena computes."""
    store.put_violations(b"{}", datetime(2017, 8, 8, 6, tzinfo=UTC))
    key = "monitor/demand-forecast/violations/2017/08/08/06/violations.jsonl"
    assert s3.get_object(Bucket="artifacts", Key=key)["Body"].read() == b"{}"
