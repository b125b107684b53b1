"""A third-party model server with its own model format, on the standard library only, with faults on request."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODEL: dict[str, Any] = json.loads(Path(os.environ["SM_MODEL_DIR"], "weights.json").read_text())
FAULT = MODEL.get("fault")
SECONDS = 60


class RequestError(ValueError):
    """A request that cannot be answered."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """Answers pings and predictions."""

    protocol_version = "HTTP/1.1"
    timeout = SECONDS

    def do_GET(self) -> None:
        """Answer a ping."""
        self._answer(200 if self.path == "/ping" else 404, {})

    def do_POST(self) -> None:
        """Answer a request of the container contract."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/invocations":
            self._answer(404, {"error": "not here"})
            return
        try:
            rows = self._rows(body)
        except RequestError as error:
            self._answer(error.status, {"error": str(error)})
            return
        if FAULT == "dies":
            os._exit(1)
        if FAULT == "fails":
            self._answer(500, {"error": "the model failed"})
            return
        found: list[Any] = [sum(MODEL["weights"][name] * row[name] for name in MODEL["weights"]) for row in rows]
        if FAULT == "few":
            found = found[:-1]
        if FAULT == "words":
            found = ["many" for _ in found]
        self._answer(200, {"predictions": found})

    def _rows(self, body: bytes) -> list[dict[str, float]]:
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise RequestError(f"the content type must be application/json, got {kind!r}", 415)
        try:
            rows = [{name: float(row[name]) for name in MODEL["weights"]} for row in json.loads(body)["instances"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RequestError(f"the request must be instances: {type(error).__name__}") from error
        if not rows:
            raise RequestError("a request must have at least one row")
        return rows

    def _answer(self, status: int, document: object) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


if FAULT == "unready":
    sys.exit("this model does not load")
ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
