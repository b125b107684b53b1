"""Data capture by the server, where no SageMaker endpoint captures: the same lines under the same keys.

Before a call is answered, its line is added to a queue. A thread writes the queue to S3 when it is large enough, after some
seconds, and at shutdown; it does little work in Python, to leave the interpreter to the serving thread. The queue is limited in
bytes: calls that S3 does not accept in time are dropped and counted, instead of filling the memory.
"""

import logging
import random
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from mlops_runtime.contracts.capture import capture_key
from mlops_runtime.serving.server_metrics import Gauges
from mlops_runtime.serving.settings import CaptureSettings

FLUSH_BYTES = 4 * 1024**2
FLUSH_SECONDS = 10.0
# memory of a line in addition to its bytes
_OVERHEAD = 128
_PAUSES = (1.0, 4.0, 15.0)
_ENCODINGS = {"text/csv": "CSV", "application/json": "JSON"}

_log = logging.getLogger("mlops.serving")


class Call(NamedTuple):
    """A completed call: time, ids, and both payloads with their content types."""

    at: float  # epoch seconds
    event_id: str
    inference_id: str | None
    request: bytes
    request_type: str
    response: bytes
    response_type: str


def line(call: Call) -> bytes:
    """Return the call as a line of a capture file, a `CaptureRecord`.

    Example:
        >>> line(Call(0.0, "e", "i", b"1", "text/csv", b"2", "text/csv")).count(b'"encoding":"CSV"')
        2
    """
    event = {"eventId": call.event_id}
    if call.inference_id is not None:
        event["inferenceId"] = call.inference_id
    event["inferenceTime"] = _instant(int(call.at))
    record = {
        "captureData": {
            "endpointInput": _side(call.request, call.request_type, "INPUT"),
            "endpointOutput": _side(call.response, call.response_type, "OUTPUT"),
        },
        "eventMetadata": event,
        "eventVersion": "0",
    }
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


@lru_cache(maxsize=64)
def _instant(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _side(payload: bytes, content_type: str, mode: str) -> dict[str, str]:
    # only successful calls are captured, and these are valid UTF-8
    encoding = _ENCODINGS[content_type.partition(";")[0].strip().lower()]
    return {"observedContentType": content_type, "mode": mode, "data": payload.decode(), "encoding": encoding}


class Recorder:
    """Queues calls from one thread, which another thread writes to S3.

    Args:
        settings: Bucket, keys, sampling percentage and the limit of the queue.
        put: Writes an object, given key and content. Any exception means that it was not written.
        prepare: Prepares for the first write, in the writing thread. Default: no preparation.
        generator: Selects the calls of the sample. Default: a new one.
        flush_bytes: Bytes that trigger a write. Default: 4 MiB, or a quarter of the queue's limit.
        flush_seconds: Longest time until a queued call is written while S3 responds. Default: 10.
        pauses: Seconds between attempts of a write; after the last, its calls are lost. Default: 1, 4, 15.

    Example:
        >>> bucket = CaptureBucket(settings)  # doctest: +SKIP
        >>> recorder = Recorder(settings, bucket.put, prepare=bucket.prepare)  # doctest: +SKIP
        >>> recorder.close(5)  # doctest: +SKIP
    """

    def __init__(
        self,
        settings: CaptureSettings,
        put: Callable[[str, bytes], None],
        *,
        prepare: Callable[[], None] | None = None,
        generator: random.Random | None = None,
        flush_bytes: int = FLUSH_BYTES,
        flush_seconds: float = FLUSH_SECONDS,
        pauses: tuple[float, ...] = _PAUSES,
    ) -> None:
        self._settings = settings
        self._put = put
        self._prepare = prepare
        self._random = random.Random() if generator is None else generator  # noqa: S311 - a sample is not a secret
        self._flush_bytes = min(flush_bytes, max(1, settings.queue_bytes // 4))
        self._flush_seconds = flush_seconds
        self._pauses = pauses
        self._queue: deque[tuple[int, bytes]] = deque()
        # each counter is only written by one thread, the serving or the writing one
        self._bytes_in = self._bytes_out = 0
        self._dropped = self._written = self._lost = 0
        self._wake = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def wanted(self) -> bool:
        """Return whether the next call belongs to the sample."""
        percent = self._settings.percent
        return percent >= 100 or self._random.random() * 100 < percent

    def record(self, at: float, line: bytes) -> None:
        """Queue a call's line, or count it as dropped if the queue is full. Never blocks.

        Args:
            at: Time of the call in epoch seconds, whose hour becomes part of the key.
            line: The call in the form of `line`.
        """
        waiting = self._bytes_in - self._bytes_out + len(line) + _OVERHEAD
        if waiting > self._settings.queue_bytes:
            self._dropped += 1
            return
        self._bytes_in += len(line) + _OVERHEAD
        self._queue.append((int(at // 3600), line))
        if waiting >= self._flush_bytes:
            self._wake.set()

    def close(self, seconds: float) -> int:
        """Write pending captures, for at most ``seconds``. Returns the number of calls that could not be written."""
        self._end.set()
        self._wake.set()
        self._thread.join(seconds)
        left = len(self._queue)
        if self._thread.is_alive() or left:
            _log.warning(
                "the last captured calls could not be written within %g s; at least %d are lost", seconds, left
            )
        return left

    def gauges(self) -> Gauges:
        """Return the recorder's metrics for `/metrics`."""
        outcomes = {"written": self._written, "dropped": self._dropped, "lost": self._lost}
        return {
            "mlops_capture_calls_total": (
                "counter",
                "Captured calls: written; dropped, because the queue was full; lost, because S3 rejected them.",
                outcomes,
            ),
            "mlops_capture_queue_bytes": ("gauge", "Bytes of queued calls.", float(self._bytes_in - self._bytes_out)),
        }

    def _run(self) -> None:
        try:
            if self._prepare is not None:
                self._prepare()
        except Exception as error:  # the first write tries again and reports the error again
            _log.warning("capture is not ready: %s: %s", type(error).__name__, error)
        while True:
            self._wake.wait(self._flush_seconds)
            self._wake.clear()
            while self._queue:
                self._write(*self._batch())
            if self._end.is_set():
                return

    def _batch(self) -> tuple[int, list[bytes]]:
        """Return an hour and its next lines."""
        hour, lines, size = self._queue[0][0], [], 0
        while self._queue and self._queue[0][0] == hour and size < self._flush_bytes:
            lines.append(self._queue.popleft()[1])
            size += len(lines[-1])
        return hour, lines

    def _write(self, hour: int, lines: list[bytes]) -> None:
        place, at = self._settings, datetime.fromtimestamp(hour * 3600, UTC)
        key = capture_key(place.prefix, place.endpoint, place.variant, at, str(uuid.uuid4()))
        if self._deliver(key, b"".join(lines)):
            self._written += len(lines)
        else:
            self._lost += len(lines)
        # the memory is only released now
        self._bytes_out += sum(map(len, lines)) + _OVERHEAD * len(lines)

    def _deliver(self, key: str, content: bytes) -> bool:
        for pause in (*self._pauses, None):
            try:
                self._put(key, content)
            except Exception as error:
                _log.warning("capture %s: %s: %s", key, type(error).__name__, error)
                if pause is None or self._end.is_set():
                    return False
                self._end.wait(pause)
            else:
                return True
        return False


def event_ids() -> Callable[[], str]:
    """Return a generator of ids in the form of UUIDs: a random prefix for the process, and a counter."""
    prefix, count = str(uuid.uuid4())[:24], 0

    def make() -> str:
        nonlocal count
        count += 1
        return f"{prefix}{count:012x}"

    return make


class CaptureBucket:
    """Writes objects to the capture bucket with boto3."""

    def __init__(self, settings: CaptureSettings) -> None:
        self._bucket = settings.bucket
        self._encryption: Mapping[str, str] = {}
        if settings.kms_key is not None:
            self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.kms_key}
        self._client: Any = None

    def prepare(self) -> None:
        """Load boto3 and create the client, early because a server that is shutting down has no time for it."""
        import boto3  # noqa: PLC0415 - see above
        from botocore.config import Config  # noqa: PLC0415

        config = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "max_attempts": 2})
        self._client = boto3.session.Session().client("s3", config=config)

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        if self._client is None:
            self.prepare()
        try:
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=content, ContentType="application/jsonl", **self._encryption
            )
        except Exception:
            self._client = None  # a session caches what it found, including missing credentials
            raise
