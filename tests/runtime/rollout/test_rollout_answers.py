"""The adapter of captured responses: before and since the start of a rollout; the newest captures of some hours in S3."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.rollout import rollout_answers
from mlops_runtime.rollout.evidence_requests import BodiesRequest
from mlops_runtime.rollout.rollout_answers import AnswersFunction, CaptureReader


@pytest.fixture
def function() -> Iterator[AnswersFunction]:
    """Return the function with a bucket."""
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="captures")
        yield AnswersFunction(s3=s3)


def line(at: datetime, data: str) -> str:
    """Return a captured call."""
    output = {"observedContentType": "application/json", "mode": "OUTPUT", "encoding": "JSON", "data": data}
    event = {"eventId": "e", "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    return json.dumps({"captureData": {"endpointOutput": output}, "eventMetadata": event}) + "\n"


@pytest.mark.parametrize(("body", "is_stopped"), [('{"error": "no memory"}', True), ('{"predictions": [2]}', False)])
def test_error_bodies_stop_a_rollout(function: AnswersFunction, body: str, is_stopped: bool) -> None:
    """They have status 200, so no metric counts them."""
    now = datetime.now(UTC)
    since = now - timedelta(minutes=10)
    calls = [(since - timedelta(minutes=n % 5 + 1), '{"predictions": [1]}') for n in range(100)]
    calls += [(since + timedelta(minutes=n % 9), body) for n in range(90)]
    content = "".join(line(*call) for call in calls).encode()
    function.s3.put_object(Bucket="captures", Key=f"c/e/AllTraffic/{now:%Y/%m/%d/%H}/a.jsonl", Body=content)
    request: dict[str, Any] = {"endpoint": "e", "variant": "AllTraffic", "destination": "s3://captures/c"}
    found = function.bodies(BodiesRequest(**request, since=since.isoformat(), false_alarm=0.01), now=now)
    assert found.is_stopped is is_stopped
    assert (
        f"{90 if is_stopped else 0} of 90 captured answers had no readable numbers, 0 of 100 before it"
        in found.sentence
    )


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
    monkeypatch.setattr(rollout_answers, "_MAXIMUM_OBJECTS", 2)
    for number in range(3):
        put(reader, f"AllTraffic/HOUR/{number}.jsonl", {"n": number})
    now = datetime.now(UTC)
    span = (now - timedelta(hours=1), now)
    assert len(list(reader.records("AllTraffic", *span))) == 2
    monkeypatch.setattr(rollout_answers, "_MAXIMUM_BYTES", 9)
    assert len(list(reader.records("AllTraffic", *span))) == 1
