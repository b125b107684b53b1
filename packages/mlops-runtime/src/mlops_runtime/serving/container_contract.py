"""Conformance test of a model server: the requirements of SageMaker and Kubernetes, checked over HTTP against any image."""

import http.client
import json
import math
import os
import pickle
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

# "containers must respond to requests within 60 seconds"
ANSWER_SECONDS = 60.0
# Kubernetes' default: SIGKILL comes 30 s after SIGTERM
DRAIN_SECONDS = 30.0
_HEAD_SECONDS = 0.5  # time for the server to read the head of a request

PING_SECONDS = 2.0
_JSON, _CSV = "application/json", "text/csv"
_TRACES = ("Traceback (most recent call last)", 'File "', "\tat ", "goroutine ")
# invalid requests, as JSON or any other type
_NONSENSE: Mapping[str, bytes] = {
    "a body that is cut": b'{"instances": [[1,',
    "an empty body": b"",
    "an array of nothing": b"[]",
    "text for instances": b'{"instances": "x"}',
    "instances of the wrong width": b'{"instances": [[]]}',
    "bytes": b"\xff\x00\xfe",
    "nesting without end": b"[" * 100_000,
}
_NPY, _PICKLE = "application/x-npy", "application/x-python-pickle"


class NoAnswerError(OSError):
    """A server does not respond; the message names the request and the timeout."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    content_type: str
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class Client:
    """HTTP client of one server.

    Args:
        url: ``http://host:port``.

    Raises:
        NoAnswerError: If the URL has another form.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise NoAnswerError(f"the server must be http://host:port, got {url!r}: {error}") from error
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise NoAnswerError(f"the server must be http://host:port, got {url!r}")
        self.host, self.port = parts.hostname, 80 if port is None else port

    def connect(self) -> None:
        """Check that a server listens.

        Raises:
            NoAnswerError: If the connection fails.
        """
        try:
            socket.create_connection((self.host, self.port), timeout=5).close()
        except (OSError, UnicodeError) as error:  # a UnicodeError for a host that is not a name
            raise NoAnswerError(
                f"nothing listens at {self.host}:{self.port}: {error}; start the server first"
            ) from error

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "",
        *,
        timeout: float = ANSWER_SECONDS,
    ) -> Answer:
        """Send one request on a new connection.

        Raises:
            NoAnswerError: If there is no HTTP response within the timeout.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            return _request(connection, method, path, body, content_type)
        finally:
            connection.close()

    def request_twice(self, method: str, path: str, body: bytes, content_type: str) -> tuple[Answer, Answer]:
        """Send a request twice on one connection, if the server keeps it alive.

        Raises:
            NoAnswerError: As in `request`; also if the server closes a connection that it promised to keep alive.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_SECONDS)
        try:
            first = _request(connection, method, path, body, content_type)
            return first, _request(connection, method, path, body, content_type)
        finally:
            connection.close()


def _request(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, content_type: str
) -> Answer:
    began = time.monotonic()
    try:
        connection.request(method, path, body, {"content-type": content_type} if content_type else {})
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        took = f"{type(error).__name__} after {time.monotonic() - began:.1f} s"
        raise NoAnswerError(f"{method} {path} must be answered within {connection.timeout:g} s, got {took}") from error
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Answer(response.status, kind, content)


def drained(client: Client, pid: int, content_type: str, body: bytes) -> str:
    """Send SIGTERM during a half-sent request, send the rest and wait for the process to end. Returns the problem, or ``""``."""
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: {client.host}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection((client.host, client.port), timeout=DRAIN_SECONDS) as half:
        half.sendall(head + body[:1])
        time.sleep(_HEAD_SECONDS)
        try:
            os.kill(pid, signal.SIGTERM)
        except OSError as error:
            return f"SIGTERM must reach process {pid}: {error.strerror}; give the server's own (--pid)"
        time.sleep(_HEAD_SECONDS)
        answer = b""
        try:
            half.sendall(body[1:])
            while part := half.recv(65536):
                answer += part
        except OSError as error:
            return f"a request in flight at SIGTERM must be answered, got {type(error).__name__}"
    if not answer.startswith(b"HTTP/1.1 200"):
        return f"a request in flight at SIGTERM must be answered with 200, got {answer[:60]!r}"
    deadline = time.monotonic() + DRAIN_SECONDS
    while _runs(pid):
        if time.monotonic() > deadline:
            return f"the process must end within {DRAIN_SECONDS:g} s of SIGTERM, and it still runs"
        time.sleep(0.05)
    return ""


def _runs(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not stat.parent.parent.exists()  # without /proc: the signal was delivered


class Outcome(StrEnum):
    """Result of a rule."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of one rule, with the reason."""

    rule: str
    outcome: Outcome
    reason: str = ""


class SampleError(ValueError):
    """A sample request cannot be created; the message states how to provide one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A valid request of at least one row, which a server must answer."""

    content_type: str  # `application/json` with `{"instances": [...]}`, or `text/csv`
    body: bytes  # the request body

    def rows(self) -> list[bytes]:
        """Return each row as a separate request.

        Raises:
            SampleError: If the body has another shape, or no row.
        """
        try:
            if self.content_type == _CSV:
                found = [row + b"\n" for row in self.body.splitlines() if row.strip()]
            else:
                found = [self._instances([row]) for row in json.loads(self.body)["instances"]]
        except (ValueError, KeyError, TypeError) as error:
            raise SampleError(
                f'the request must be {{"instances": [...]}} or CSV lines, got {self.body[:60]!r}'
            ) from error
        if not found:
            raise SampleError("the request must have at least one row")
        return found

    def batch(self, rows: Sequence[bytes]) -> bytes:
        """Combine rows into one request."""
        if self.content_type == _CSV:
            return b"".join(rows)
        return self._instances([json.loads(row)["instances"][0] for row in rows])

    def _instances(self, rows: list[Any]) -> bytes:
        return json.dumps({"instances": rows}).encode()


def sample_of(metadata: Mapping[str, Any]) -> Sample:
    """Return a request generated from a model's Open Inference Protocol metadata: zeros and empty strings.

    Raises:
        SampleError: If the metadata are not sufficient.
    """
    inputs = metadata.get("inputs")
    names = [tensor.get("name") for tensor in inputs if isinstance(tensor, dict)] if isinstance(inputs, list) else []
    if (
        not inputs
        or not isinstance(inputs, list)
        or len(names) != len(inputs)
        or not all(isinstance(n, str) for n in names)
    ):
        raise SampleError(
            "the server does not describe its inputs; pass a valid request (--request FILE) or the model (--model)"
        )
    rows = [{t["name"]: "" if t.get("datatype") == "BYTES" else n for t in inputs} for n in (0, 1)]
    return Sample(content_type=_JSON, body=json.dumps({"instances": rows}).encode())


def check(url: str, *, sample: Sample | None = None, model: str = "model", pid: int | None = None) -> list[Verdict]:
    """Check a server against every rule.

    Args:
        url: ``http://host:port``.
        sample: A valid request. Default: generated from the model's metadata.
        model: The model's name in the Open Inference Protocol.
        pid: The server's process, which gets SIGTERM at the end. Default: draining is not checked.

    Raises:
        SampleError: If there is no sample and none can be generated.
        NoAnswerError: If no server listens at the URL.
    """
    client = Client(url)
    client.connect()
    metadata = _metadata(client, model)
    kit = _Kit(client, sample_of(metadata or {}) if sample is None else sample, model, metadata)
    verdicts = [_verdict(name, rule) for name, rule in kit.rules()]
    if pid is None:
        verdicts.append(Verdict("drain", Outcome.SKIPPED, "the server's process is not known (--pid)"))
    else:
        verdicts.append(_verdict("drain", lambda: drained(client, pid, kit.content_type, kit.one)))
    return verdicts


class _Kit:
    """The rules. Each returns the problem, or ``""``, and raises ``_Skip`` if it does not apply."""

    def __init__(self, client: Client, sample: Sample, model: str, metadata: Mapping[str, Any] | None) -> None:
        self._client = client
        self._sample = sample
        self._model = model
        self._metadata = metadata
        self._rows = sample.rows()
        self.content_type = sample.content_type
        self.one = self._rows[0]

    def rules(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield every rule with its name."""
        yield "ping", self.ping
        yield "ping while busy", self.ping_while_busy
        yield "predictions", self.predictions
        yield "content type of answers", self.content_type_of_answers
        yield "repeatable", self.repeatable
        yield "batch", self.batch
        yield "kept connection", self.kept_connection
        yield "unknown content type", self.unknown_content_type
        yield "nonsense is the caller's error", self.nonsense
        yield "a body is never unpickled", self.never_unpickled
        yield "no trace of the inside", self.no_trace
        yield "other paths", self.other_paths
        yield "still serving", self.predictions
        yield "v2 health", self.v2_health
        yield "v2 metadata", self.v2_metadata
        yield "v2 inference", self.v2_inference
        yield "v2 nonsense", self.v2_nonsense

    def ping(self) -> str:
        answer = self._client.request("GET", "/ping", timeout=PING_SECONDS)
        return "" if answer.status == 200 else f"GET /ping must answer 200, got {answer.status}"

    def ping_while_busy(self) -> str:
        batch = self._sample.batch(self._rows * (2000 // len(self._rows) + 1))
        with ThreadPoolExecutor(4) as pool:
            busy = [pool.submit(self._infer, batch) for _ in range(4)]
            answer = self._client.request("GET", "/ping", timeout=PING_SECONDS)
            failed = [one.result().status for one in busy if one.result().status != 200]
        if failed:
            return f"a batch of {2000 // len(self._rows) * len(self._rows)} rows must be answered, got {failed[0]}"
        return "" if answer.status == 200 else f"GET /ping must answer 200 beside four batches, got {answer.status}"

    def predictions(self) -> str:
        answer = self._infer(self.one)
        if answer.status != 200:
            return f"POST /invocations must answer a valid request with 200, got {answer.status} {answer.text[:200]!r}"
        return (
            ""
            if len(_rows(answer)) == 1
            else f"one row must have one prediction of finite numbers, got {answer.text[:200]!r}"
        )

    def content_type_of_answers(self) -> str:
        answer = self._infer(self.one)
        kind = answer.content_type
        if kind == _JSON:
            try:
                json.loads(answer.text)
            except ValueError:
                return f"an answer of {_JSON} must be JSON, got {answer.text[:60]!r}"
            return ""
        return "" if kind == _CSV else f"the content type of a response must be {_JSON} or {_CSV}, got {kind!r}"

    def repeatable(self) -> str:
        one, two = (_rows(self._infer(self.one)) for _ in range(2))
        return "" if one == two else f"repeating a request must give the same response, got {one} and {two}"

    def batch(self) -> str:
        rows = (self._rows * 3)[: max(3, len(self._rows))]
        alone = [prediction for row in rows for prediction in _rows(self._infer(row))]
        together = _rows(self._infer(self._sample.batch(rows)))
        if len(together) != len(rows):
            return f"{len(rows)} rows must have as many predictions, got {len(together)}"
        worst = [i for i, (a, b) in enumerate(zip(alone, together, strict=True)) if not _is_near(a, b)]
        return (
            f"row {worst[0]} must have the same prediction alone and in a batch, got {alone[worst[0]]} and {together[worst[0]]}"
            if worst
            else ""
        )

    def kept_connection(self) -> str:
        first, second = self._client.request_twice("POST", "/invocations", self.one, self.content_type)
        return (
            ""
            if first.status == second.status == 200
            else f"a kept-alive connection must stay usable, got {first.status} and {second.status}"
        )

    def unknown_content_type(self) -> str:
        answer = self._client.request("POST", "/invocations", self.one, "application/x-mlops-nothing")
        return "" if 400 <= answer.status < 500 else f"an unknown type must be a 4xx (415), got {answer.status}"

    def nonsense(self) -> str:
        wrong = [
            f"{name} must be a 4xx, got {answer.status}"
            for name, body in _NONSENSE.items()
            if not 400 <= (answer := self._client.request("POST", "/invocations", body, _JSON)).status < 500
        ]
        return "; ".join(wrong)

    def never_unpickled(self) -> str:
        with Tripwire(self._client.host, self._client.port) as wire:
            answers = {
                kind: self._client.request("POST", "/invocations", body, kind) for kind, body in wire.bodies.items()
            }
            if wire.is_tripped():
                return "a pickle in a body was loaded and ran its command; refuse it by its content type"
        wrong = [
            f"{kind} must be a 4xx, got {answer.status}"
            for kind, answer in answers.items()
            if answer.status // 100 != 4
        ]
        return "; ".join(wrong)

    def no_trace(self) -> str:
        answers = [self._client.request("POST", "/invocations", body, _JSON) for body in _NONSENSE.values()]
        answers += [
            self._client.request("GET", "/no/such/path"),
            self._client.request("POST", "/invocations", b"x", "a/b"),
        ]
        shown = [trace for answer in answers for trace in _TRACES if trace in answer.text]
        return f"an error must not show internals, got {shown[0]!r}" if shown else ""

    def other_paths(self) -> str:
        requests = (("GET", "/no/such/path"), ("GET", "/invocations"))
        wrong = [(m, p, s) for m, p in requests if not 400 <= (s := self._client.request(m, p).status) < 500]
        return "; ".join(f"{method} {path} must be a 4xx, got {status}" for method, path, status in wrong)

    def v2_health(self) -> str:
        self._claimed()
        paths = ("/v2/health/live", "/v2/health/ready", f"/v2/models/{self._model}/ready")
        wrong = [(path, status) for path in paths if (status := self._client.request("GET", path).status) != 200]
        return "; ".join(f"GET {path} must answer 200, got {status}" for path, status in wrong)

    def v2_metadata(self) -> str:
        metadata = self._claimed()
        missing = [name for name in ("name", "platform", "inputs", "outputs") if name not in metadata]
        tensors = [t for n in ("inputs", "outputs") for t in metadata.get(n, []) or [{}]]
        if missing or any(not isinstance(t, dict) or not {"name", "datatype", "shape"} <= t.keys() for t in tensors):
            wanted = "name, platform, inputs and outputs, its tensors name, datatype and shape"
            return f"model metadata must have {wanted}, got {str(metadata)[:200]}"
        return ""

    def v2_inference(self) -> str:
        request = self._v2_request()
        answer = self._client.request("POST", f"/v2/models/{self._model}/infer", request, _JSON)
        if answer.status != 200:
            return f"a valid request must be answered with 200, got {answer.status} {answer.text[:200]!r}"
        found = _rows(answer)
        expected = [prediction for row in self._rows for prediction in _rows(self._infer(row))]
        same = len(found) == len(expected) and all(map(_is_near, found, expected))
        return "" if same else f"v2 and /invocations must return the same numbers, got {found[:5]} and {expected[:5]}"

    def v2_nonsense(self) -> str:
        self._claimed()
        path = f"/v2/models/{self._model}/infer"
        wrong = []
        for body in (
            b"{",
            b'{"inputs": []}',
            b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1]}]}',
        ):
            answer = self._client.request("POST", path, body, _JSON)
            if not 400 <= answer.status < 500 or not _is_v2_error(answer):
                wrong.append(
                    f'{body[:40]!r} must be a 4xx with {{"error": text}}, got {answer.status} {answer.text[:60]!r}'
                )
        status = self._client.request("POST", "/v2/models/no-such-model/infer", b"{}", _JSON).status
        if not 400 <= status < 500:
            wrong.append(f"an unknown model must be a 4xx, got {status}")
        return "; ".join(wrong)

    def _infer(self, body: bytes) -> Answer:
        return self._client.request("POST", "/invocations", body, self.content_type)

    def _claimed(self) -> Mapping[str, Any]:
        if self._metadata is None:
            raise _Skip(f"the server does not implement it (GET /v2/models/{self._model})")
        return self._metadata

    def _v2_request(self) -> bytes:
        names = [tensor["name"] for tensor in self._claimed().get("inputs", ())]
        datatypes = {tensor["name"]: tensor["datatype"] for tensor in self._claimed().get("inputs", ())}
        if self.content_type != _JSON:
            raise _Skip("the sample is not JSON")
        rows = [json.loads(row)["instances"][0] for row in self._rows]
        columns = [[row[n] if isinstance(row, dict) else row[i] for row in rows] for i, n in enumerate(names)]
        inputs = [
            {"name": name, "shape": [len(rows)], "datatype": datatypes[name], "data": column}
            for name, column in zip(names, columns, strict=True)
        ]
        return json.dumps({"inputs": inputs}).encode()


class _Skip(Exception):  # noqa: N818 - not an error
    """A rule does not apply."""


def _verdict(name: str, rule: Callable[[], str]) -> Verdict:
    try:
        problem = rule()
    except _Skip as skip:
        return Verdict(name, Outcome.SKIPPED, str(skip))
    except NoAnswerError as error:
        problem = str(error)
    except (KeyError, IndexError, TypeError) as error:
        problem = f"the answer has another shape: {type(error).__name__} {error}"
    return Verdict(name, Outcome.FAILED, problem) if problem else Verdict(name, Outcome.PASSED)


def _metadata(client: Client, model: str) -> Mapping[str, Any] | None:
    if client.request("GET", "/v2").status != 200:
        return None
    answer = client.request("GET", f"/v2/models/{model}")
    try:
        found = json.loads(answer.text) if answer.status == 200 else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def _is_v2_error(answer: Answer) -> bool:
    try:
        document = json.loads(answer.text)
    except ValueError:
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), str)


def _rows(answer: Answer) -> list[tuple[float, ...]]:
    """Return the finite numbers of each row, from ``predictions``, the first output tensor or CSV lines; [] if any is invalid."""
    try:
        if answer.content_type == _CSV:
            values = [line.split(",") for line in answer.text.splitlines() if line]
        else:
            document = json.loads(answer.text)
            values = _tensor(document["outputs"][0]) if "outputs" in document else document["predictions"]
        found = [tuple(map(float, value if isinstance(value, list) else [value])) for value in values]
    except (ValueError, KeyError, TypeError, IndexError):
        return []
    return found if all(row and all(map(math.isfinite, row)) for row in found) else []


def _tensor(tensor: Mapping[str, Any]) -> list[Any]:
    """Return the rows of a tensor, whose elements may be flat in row order or nested."""
    shape, data = tensor["shape"], tensor["data"]
    if len(shape) == 1 or (data and isinstance(data[0], list)):
        return list(data)
    width = math.prod(shape[1:])
    return [data[start : start + width] for start in range(0, len(data), width)]


def _is_near(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) for a, b in zip(one, other, strict=True)
    )


class _CallsBack:
    """Connects to an address when it is unpickled."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return socket.create_connection, (self._address, 2.0)


class Tripwire:
    """A listening socket on this machine, at the address from which the server is reached.

    Example:
        >>> with socket.create_server(("127.0.0.1", 0)) as server, Tripwire(*server.getsockname()) as wire:
        ...     wire.is_tripped()
        False
    """

    def __init__(self, host: str, port: int) -> None:
        with socket.create_connection((host, port), timeout=5) as connection:
            here = connection.getsockname()[0]
        family = socket.AF_INET6 if ":" in here else socket.AF_INET
        self._listening = socket.create_server((here, 0), family=family)
        self._listening.setblocking(False)
        content = pickle.dumps(_CallsBack(self._listening.getsockname()[:2]), protocol=2)
        self.bodies: Mapping[str, bytes] = {_NPY: _array_of(content), _PICKLE: content}

    def __enter__(self) -> Self:
        """Listen until the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the socket."""
        self._listening.close()

    def is_tripped(self) -> bool:
        """Return whether a server has connected, which happens before it responds."""
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return False
        connection.close()
        return True


def _array_of(content: bytes) -> bytes:
    """Return a ``.npy`` file with one object, as NumPy writes it."""
    # https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    length = -(-(10 + len(header) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + header.ljust(length - 1) + b"\n" + content
