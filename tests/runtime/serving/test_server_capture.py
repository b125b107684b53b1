"""Capture by the server: SageMaker's lines and keys, bounded memory, and no loss of objects that S3 accepts."""

import json
import random
import threading
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.capture import CaptureRecord, capture_key
from mlops_runtime.monitor.counting.capture_lines import read_call
from mlops_runtime.serving.server_capture import Call, CaptureBucket, Recorder, event_ids, line
from mlops_runtime.serving.settings import CaptureSettings

HOUR = datetime(2026, 11, 24, 9, tzinfo=UTC).timestamp()
BODY = b'{"instances":[{"price":1.5,"store":"s\xc3\xbcd"}]}'
ANSWER = b'{"predictions":[22.0]}'


def settings(**changes: Any) -> CaptureSettings:
    """Return settings with changes."""
    given = {"percent": 100, "queue_bytes": 100_000, **changes}
    return CaptureSettings(
        bucket="unit-capture", prefix="capture", endpoint="demand-forecast", variant="AllTraffic", **given
    )


def call(number: int = 0, at: float = HOUR, **changes: Any) -> Call:
    """Return a call."""
    plain = Call(at, f"event-{number}", None, BODY, "application/json", ANSWER, "application/json")
    return plain._replace(**changes)


class Bucket:
    """Stores objects after a number of failures; can be blocked."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.objects: list[tuple[str, bytes]] = []
        self.open = threading.Event()
        self.open.set()
        self.is_called = threading.Event()

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        self.is_called.set()
        self.open.wait(10)
        if self.failures:
            self.failures -= 1
            raise OSError("no")
        self.objects.append((key, content))

    def events(self) -> list[str]:
        """Return the event ids of all lines."""
        return [
            json.loads(one)["eventMetadata"]["eventId"] for _, content in self.objects for one in content.splitlines()
        ]


def gauges(recorder: Recorder) -> tuple[float, float, float, float]:
    """Return written, dropped, lost and waiting calls."""
    found = recorder.gauges()
    outcomes, waiting = found["mlops_capture_calls_total"][2], found["mlops_capture_queue_bytes"][2]
    assert isinstance(outcomes, dict)
    assert isinstance(waiting, float)
    return (*outcomes.values(), waiting)


def test_a_line_is_sagemakers() -> None:
    """Key by key by the contract; the monitor's reader returns the values.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
    """
    written = line(call(inference_id="caller-1"))
    assert json.loads(written) == {
        "captureData": {
            "endpointInput": {
                "observedContentType": "application/json",
                "mode": "INPUT",
                "data": BODY.decode(),
                "encoding": "JSON",
            },
            "endpointOutput": {
                "observedContentType": "application/json",
                "mode": "OUTPUT",
                "data": ANSWER.decode(),
                "encoding": "JSON",
            },
        },
        "eventMetadata": {"eventId": "event-0", "inferenceId": "caller-1", "inferenceTime": "2026-11-24T09:00:00Z"},
        "eventVersion": "0",
    }
    assert from_json(CaptureRecord, written).event.join_key == "caller-1"
    read = read_call(written, ["price", "store"])
    assert (read.rows, read.predictions) == ([(1.5, "süd")], [22.0])
    assert "inferenceId" not in json.loads(line(call()))["eventMetadata"]


def test_csv_is_written_as_csv() -> None:
    """By the content type without parameters."""
    written = line(
        call(
            request=b"1.5,a\n",
            request_type="Text/CSV; charset=utf-8",
            response=b"22.0\n",
            response_type="text/csv; charset=utf-8",
        )
    )
    assert read_call(written, ["price", "store"]).rows == [["1.5", "a"]]
    assert json.loads(written)["captureData"]["endpointOutput"]["encoding"] == "CSV"


def test_calls_are_written_under_the_hour_they_came_in() -> None:
    """One object per hour and write; the key is the contract's."""
    bucket = Bucket()
    recorder = Recorder(settings(), bucket.put, flush_seconds=60)
    for number, at in enumerate((HOUR - 1, HOUR, HOUR + 3599.9, HOUR + 3600)):
        recorder.record(at, line(call(number, at)))
    assert recorder.close(10) == 0
    assert [key.rpartition("/")[0] for key, _ in bucket.objects] == [
        capture_key(
            "capture", "demand-forecast", "AllTraffic", datetime(2026, 11, 24, hour, tzinfo=UTC), "x"
        ).rpartition("/")[0]
        for hour in (8, 9, 10)
    ]
    assert bucket.events() == [f"event-{n}" for n in range(4)]
    assert gauges(recorder) == (4, 0, 0, 0)


def test_many_bytes_are_written_before_the_time_is_up(wait_for: Any) -> None:
    """A busy server writes before the interval ends."""
    bucket = Bucket()
    recorder = Recorder(settings(), bucket.put, flush_seconds=600, flush_bytes=1000)
    for number in range(5):
        recorder.record(HOUR, line(call(number)))
    wait_for(lambda: bucket.objects)
    recorder.close(10)
    assert bucket.events() == [f"event-{n}" for n in range(5)]


def test_few_calls_are_written_when_the_time_is_up(wait_for: Any) -> None:
    """A quiet server writes at the end of the interval."""
    bucket = Bucket()
    recorder = Recorder(settings(), bucket.put, flush_seconds=0.01)
    recorder.record(HOUR, line(call()))
    wait_for(lambda: bucket.objects)
    recorder.close(10)


def test_bytes_that_wait_are_bounded_and_what_is_above_is_counted() -> None:
    """If S3 does not respond memory is bounded; an object being written counts as waiting."""
    bucket = Bucket()
    bucket.open.clear()
    recorder = Recorder(settings(queue_bytes=10_000), bucket.put, flush_seconds=600, flush_bytes=2000)
    one = line(call())
    for _ in range(1000):
        recorder.record(HOUR, one)
        assert gauges(recorder)[3] <= 10_000
    assert bucket.is_called.wait(10)
    kept = 10_000 // (len(one) + 128)
    assert gauges(recorder)[1] == 1000 - kept
    bucket.open.set()
    assert recorder.close(10) == 0
    assert gauges(recorder) == (kept, 1000 - kept, 0, 0)


def test_a_write_that_fails_is_tried_again(wait_for: Any) -> None:
    """After three attempts its calls are lost and counted."""
    bucket = Bucket(failures=2)
    recorder = Recorder(settings(), bucket.put, flush_seconds=0.01, pauses=(0, 0))
    recorder.record(HOUR, line(call()))
    wait_for(lambda: gauges(recorder) == (1, 0, 0, 0))
    bucket.failures = 3
    recorder.record(HOUR, line(call()))
    wait_for(lambda: gauges(recorder) == (1, 0, 1, 0))
    recorder.close(10)


def test_what_writes_is_made_ready_at_once() -> None:
    """Not at the first write, which may be the last; if it fails, writes prepare themselves."""
    ready = threading.Event()
    recorder = Recorder(settings(), Bucket().put, prepare=ready.set, flush_seconds=600)
    assert ready.wait(10)
    recorder.close(10)

    def fail() -> None:
        raise OSError("no agent yet")

    bucket = Bucket()
    other = Recorder(settings(), bucket.put, prepare=fail, flush_seconds=600)
    other.record(HOUR, line(call()))
    assert other.close(10) == 0
    assert bucket.events() == ["event-0"]


def test_the_end_waits_for_nobody() -> None:
    """A hanging S3 delays the shutdown by its time limit only."""
    bucket = Bucket()
    bucket.open.clear()
    recorder = Recorder(settings(), bucket.put, flush_seconds=600, flush_bytes=1)
    recorder.record(HOUR, line(call()))
    assert bucket.is_called.wait(10)
    recorder.record(HOUR, line(call()))
    assert recorder.close(0.01) == 1
    bucket.open.set()


def test_the_sample_is_a_sample() -> None:
    """About the given percentage; all at 100."""
    recorder = Recorder(settings(percent=20), Bucket().put, generator=random.Random(5))
    assert 150 < sum(recorder.wanted() for _ in range(1000)) < 250
    recorder.close(10)
    everything = Recorder(settings(), Bucket().put, generator=random.Random(5))
    assert all(everything.wanted() for _ in range(100))
    everything.close(10)


def test_event_ids_differ_and_look_like_uuids() -> None:
    """Within a server and between two."""
    one, two = event_ids(), event_ids()
    made = [make() for make in (one, two) for _ in range(1000)]
    assert len(set(made)) == 2000
    assert all([len(part) for part in text.split("-")] == [8, 4, 4, 4, 12] for text in made)


@given(st.binary(max_size=50).filter(lambda b: b.decode("utf-8", "ignore").encode() == b))
def test_whatever_was_answered_can_be_written(body: bytes) -> None:
    """Payloads are UTF-8, since others are rejected, and read back byte by byte."""
    written = line(call(request=body, request_type="text/csv"))
    assert written.count(b"\n") == 1
    assert json.loads(written)["captureData"]["endpointInput"]["data"].encode() == body


@pytest.mark.parametrize(("key", "encryption"), [(None, "AES256"), ("arn:aws:kms:us-east-1:1:key/k", "aws:kms")])
def test_botocores_own_client_writes(monkeypatch: pytest.MonkeyPatch, key: str | None, encryption: str) -> None:
    """With the bucket's default key or the named one; failures create a new client."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        put = CaptureBucket(settings(kms_key=key)).put
        with pytest.raises(Exception, match="NoSuchBucket"):
            put("capture/a.jsonl", b"{}\n")
        client = boto3.client("s3")
        client.create_bucket(Bucket="unit-capture")
        put("capture/a.jsonl", b"{}\n")
        found = client.get_object(Bucket="unit-capture", Key="capture/a.jsonl")
        assert (found["Body"].read(), found["ContentType"]) == (b"{}\n", "application/jsonl")
        assert found.get("ServerSideEncryption", "AES256") == encryption
