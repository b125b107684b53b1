"""Reading a variant's captures from S3: the newest of some hours."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.rollout import capture_reader
from mlops_runtime.rollout.capture_reader import CaptureReader


@pytest.fixture
def reader() -> Iterator[CaptureReader]:
    """Return a reader with a bucket."""
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="captures")
        yield CaptureReader(s3=s3, destination="s3://captures/capture", endpoint="e")


def put(reader: CaptureReader, key: str, *lines: object) -> None:
    """Write an object of the current hour."""
    hour = f"{datetime.now(UTC):%Y/%m/%d/%H}"
    body = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    reader.s3.put_object(Bucket="captures", Key=f"capture/e/{key.replace('HOUR', hour)}", Body=body.encode())


def test_the_records_of_a_variant_are_read(reader: CaptureReader) -> None:
    """Other variants' records are excluded, and invalid lines skipped."""
    put(reader, "AllTraffic/HOUR/a.jsonl", {"n": 1}, "broken {", [2], {"n": 3})
    put(reader, "Shadow/HOUR/b.jsonl", {"n": 4})
    now = datetime.now(UTC)
    span = (now - timedelta(hours=1), now)
    assert list(reader.records("AllTraffic", *span)) == [{"n": 1}, {"n": 3}]
    assert list(reader.records("AllTraffic", now - timedelta(hours=2), now - timedelta(hours=1))) == []


def test_of_many_objects_the_newest_are_read(reader: CaptureReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded by the function's time and by bytes."""
    monkeypatch.setattr(capture_reader, "_MAXIMUM_OBJECTS", 2)
    for number in range(3):
        put(reader, f"AllTraffic/HOUR/{number}.jsonl", {"n": number})
    now = datetime.now(UTC)
    span = (now - timedelta(hours=1), now)
    assert len(list(reader.records("AllTraffic", *span))) == 2
    monkeypatch.setattr(capture_reader, "_MAXIMUM_BYTES", 9)
    assert len(list(reader.records("AllTraffic", *span))) == 1
