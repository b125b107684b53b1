"""Keys and windows in S3 (moto, in process)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counts import empty
from mlops_runtime.monitor.report import Window
from mlops_runtime.monitor.store import MonitorStore

WINDOW = Window(datetime(2017, 8, 7, 10, tzinfo=UTC), datetime(2017, 8, 9, 1, tzinfo=UTC))


@pytest.fixture
def s3() -> Iterator[Any]:
    """Two empty buckets."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        for bucket in ("artifacts", "captures"):
            client.create_bucket(Bucket=bucket)
        yield client


@pytest.fixture
def store(s3: Any) -> MonitorStore:
    """The store of one endpoint."""
    return MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts", captures="captures")


def test_a_capture_object_has_one_place_for_its_counts(store: MonitorStore) -> None:
    """The same object gives the same key; other objects give none."""
    key = "capture/demand-forecast/AllTraffic/2017/08/07/10/a-1.jsonl"
    assert store.counts_key(key) == "monitor/demand-forecast/counts/AllTraffic/2017/08/07/10/a-1.json"
    assert store.counts_key("labels/demand-forecast/2017/08/07/10/a.jsonl") is None
    assert store.counts_key("capture/demand-pricing/AllTraffic/2017/08/07/10/a.jsonl") is None
    assert store.counts_key(f"{key}.tmp") is None


def test_a_window_lists_its_hours_only(s3: Any, store: MonitorStore) -> None:
    """The first hour is in, the end is out, over days; strangers are left alone."""
    hours = ["2017/08/07/09", "2017/08/07/10", "2017/08/08/23", "2017/08/09/00", "2017/08/09/01", "2017/08/08/xx"]
    for hour in hours:
        s3.put_object(Bucket="captures", Key=f"capture/demand-forecast/AllTraffic/{hour}/a.jsonl", Body=b"1\n2")
        s3.put_object(Bucket="captures", Key=f"labels/demand-forecast/{hour}/l.jsonl", Body=hour.encode())
    prefix = "capture/demand-forecast/AllTraffic"
    assert store.capture_keys("AllTraffic", WINDOW) == [f"{prefix}/{hour}/a.jsonl" for hour in hours[1:4]]
    assert list(store.captures("AllTraffic", WINDOW)) == [b"1", b"2"] * 3
    assert list(store.labels(WINDOW)) == [hour.encode() for hour in hours[1:4]]


def test_counts_come_back(store: MonitorStore, baseline: Baseline) -> None:
    """What is written in a window is read from it."""
    key = "monitor/demand-forecast/counts/AllTraffic/2017/08/08/00/a.json"
    store.put_counts(key, empty(baseline))
    assert store.counts_keys("AllTraffic", WINDOW) == [key]
    assert list(store.counts([key])) == [empty(baseline)]


def test_a_baseline_is_read_once(s3: Any, store: MonitorStore, baseline: Baseline) -> None:
    """An execution's baseline never changes, so a warm function keeps it."""
    s3.put_object(Bucket="artifacts", Key="evaluations/p/e/baseline.json", Body=canonical_json(baseline))
    uri = "s3://artifacts/evaluations/p/e/baseline.json"
    first = store.baseline(uri)
    s3.delete_object(Bucket="artifacts", Key="evaluations/p/e/baseline.json")
    assert store.baseline(uri) is first
    assert first == baseline
