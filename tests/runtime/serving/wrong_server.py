"""A small correct server, and one fault for each rule of the contract kit."""

import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

METADATA: Mapping[str, Any] = {
    "name": "model",
    "versions": ["1"],
    "platform": "test",
    "inputs": [{"name": "a", "datatype": "FP32", "shape": [-1]}, {"name": "b", "datatype": "FP32", "shape": [-1]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
}


class RefusalError(Exception):
    """A request rejected with a status."""

    def __init__(self, status: int, text: str = "no") -> None:
        super().__init__(text)
        self.status = status


class Right(BaseHTTPRequestHandler):
    """Predicts ``a + 2 b``; each method can be replaced by a fault."""

    protocol_version = "HTTP/1.1"
    timeout = 20

    def do_GET(self) -> None:
        """Respond to health and metadata requests."""
        pages = {"/v2/models/model": METADATA, "/v2": {"name": "test", "version": "1", "extensions": []}}
        if self.path == "/ping" or self.path in ("/v2/health/live", "/v2/health/ready", "/v2/models/model/ready"):
            self.ping()
        elif self.path in pages:
            self.answer(200, json.dumps(self.metadata(pages[self.path])).encode())
        else:
            self.answer(self.unknown_path(), b'{"error": "no such path"}')

    def do_POST(self) -> None:
        """Respond to an inference request."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            if self.path == "/invocations":
                self.answer(200, self.predict(body), self.kind())
            elif self.path == "/v2/models/model/infer":
                self.answer(200, self.infer(body))
            else:
                self.answer(404, b'{"error": "no such path"}')
        except RefusalError as error:
            self.answer(error.status, json.dumps({"error": str(error)}).encode())
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self.answer(*self.refuse(error))

    def ping(self) -> None:
        """Respond to the health check."""
        self.answer(200, b"")

    def predict(self, body: bytes) -> bytes:
        """Return predictions for a request of SageMaker's."""
        if self.headers["content-type"] == "text/csv":
            return "".join(f"{self.one(row)}\n" for row in self.csv(body)).encode()
        if self.headers["content-type"] != "application/json":
            raise RefusalError(self.unknown_type())
        rows = [list(row.values()) if isinstance(row, dict) else row for row in json.loads(body)["instances"]]
        if not rows:
            raise ValueError("empty")
        return json.dumps({"predictions": [self.one(row) for row in rows]}).encode()

    def csv(self, body: bytes) -> list[list[float]]:
        """Return the rows of CSV."""
        return [list(map(float, line.split(","))) for line in body.decode().splitlines()]

    def infer(self, body: bytes) -> bytes:
        """Return the response to a v2 request."""
        columns = {tensor["name"]: tensor["data"] for tensor in json.loads(body)["inputs"]}
        rows = list(zip(columns["a"], columns["b"], strict=True))
        data = [self.one(list(row)) for row in rows]
        return json.dumps({"outputs": [{"name": "y", "shape": [len(data)], "datatype": "FP32", "data": data}]}).encode()

    def one(self, row: list[float]) -> float:
        """Return the prediction of a row."""
        a, b = row
        return a + 2 * b + 1

    def kind(self) -> str:
        """Return the content type of a response."""
        return "text/csv; charset=utf-8" if self.headers["content-type"] == "text/csv" else "application/json"

    def metadata(self, page: Any) -> Any:
        """Return a metadata page."""
        return page

    def refuse(self, error: Exception) -> tuple[int, bytes]:
        """Return the response to a bad request."""
        return 400, json.dumps({"error": f"bad request: {type(error).__name__}"}).encode()

    def unknown_path(self) -> int:
        """Return the status of another path."""
        return 404

    def unknown_type(self) -> int:
        """Return the status of another type."""
        return 415

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        """Send a response."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _jitter(self: Right, row: list[float]) -> float:
    a, b = row
    return a + 2 * b + time.perf_counter()


def _by_batch(self: Right, body: bytes) -> bytes:
    predictions = json.loads(Right.predict(self, body))["predictions"]
    return json.dumps({"predictions": [number + len(predictions) - 1 for number in predictions]}).encode()


def _busy(self: Right, body: bytes) -> bytes:
    if 10_000 < len(body) < 90_000:
        raise RefusalError(503, "busy")
    return Right.predict(self, body)


def _wide(self: Right, body: bytes) -> bytes:
    return Right.predict(self, body).replace(b"]", b", 1.0]")


def _late(self: Right, body: bytes) -> bytes:
    result = Right.predict(self, body)
    if _ASKED.get("nonsense"):
        raise RefusalError(400, "broken by a bad request")
    return result


_ASKED: dict[str, bool] = {}


def _remember(self: Right, error: Exception) -> tuple[int, bytes]:
    _ASKED["nonsense"] = True
    return Right.refuse(self, error)


def _unpickled(self: Right, body: bytes) -> bytes:
    if self.headers["content-type"] != "application/x-npy":
        return Right.predict(self, body)
    try:
        np.load(io.BytesIO(body), allow_pickle=True)  # as sagemaker-inference does
    except AttributeError:
        raise RefusalError(400, "not an array") from None
    return b""


def _close(self: Right, status: int, body: bytes, kind: str = "application/json") -> None:
    Right.answer(self, status, body, kind)
    self.close_connection = True  # without announcing it


# rule -> the fault that makes a server break it; a fault may break other rules too
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "ping": {"ping": lambda self: self.answer(500, b"")},
    "ping while busy": {"predict": _busy},
    "predictions": {"predict": _wide},
    "content type of answers": {"kind": lambda _: "text/html"},
    "repeatable": {"one": _jitter},
    "batch": {"predict": _by_batch},
    "kept connection": {"answer": _close},
    "unknown content type": {"unknown_type": lambda _: 500},
    "nonsense is the caller's error": {"refuse": lambda *_: (500, b'{"error": "internal"}')},
    "a body is never unpickled": {"predict": _unpickled},
    "no trace of the inside": {"refuse": lambda *_: (400, b'Traceback (most recent call last):\n  File "x.py"')},
    "other paths": {"unknown_path": lambda _: 200},
    "still serving": {"predict": _late, "refuse": _remember},
    "v2 health": {"ping": lambda self: self.answer(200 if self.path == "/ping" else 503, b"")},
    "v2 metadata": {"metadata": lambda _, page: {k: v for k, v in page.items() if k != "platform"}},
    "v2 inference": {"infer": lambda self, body: Right.infer(self, body).replace(b'"data": [', b'"data": [9, ')},
    "v2 nonsense": {"refuse": lambda *_: (400, b"bad")},
}


@contextmanager
def serving(fault: str | None = None) -> Iterator[str]:
    """Run the server with a fault; yield its URL."""
    _ASKED.clear()
    handler = type("Handler", (Right,), dict(FAULTS[fault]) if fault else {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
