"""Images with a faulty server, for any model: ``python images.py <fault> <amount> serve``.

They implement SageMaker's contract with the real model, and then leak memory, exit, or return wrong responses.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mlops_runtime.serving.http_app import NonFiniteError, answer
from mlops_runtime.serving.onnx_model import load_directory
from mlops_runtime.serving.request_payload import PayloadError

LIMIT_MIB = 512  # memory that the container may use beyond its start; the platform kills it there
FAULTS = ("leaks", "ends", "labels", "shapes", "remembers")
TURNS, REHEARSED, DAWDLES = "turns", "rehearsed", "dawdles"
GOLDEN = Path(__file__).resolve().parents[3] / "examples" / "retail" / "demand_forecasting" / "golden.jsonl"
WAIT = 0.4  # seconds of a slow call; longer than a unit accepts, and short enough for a thousand calls
# responses of an image once it has turned: a failure, a forecast within all bounds, and a failure with status 200
FAILING = "failing"
TURNED = {
    "constant": (b'{"predictions": [1.0]}', "application/json"),
    "error": (b'{"error": "CUDA out of memory"}', "application/json"),
}


class Faulty:
    """A model behind a faulty server.

    Args:
        fault: One of `FAULTS`, `TURNS`, `REHEARSED` or `DAWDLES`.
        amount: Amount of the fault: MiB per call, calls until the exit, the content type, the shape, the fewest rows of a
            cached response, the period of slow calls, the factor on rows of no golden request; or for a server that turns its
            response, its trigger and the trigger's amount: ``constant/calls/900``.
    """

    def __init__(self, fault: str, amount: str) -> None:
        self.fault, self.amount, self.calls = fault, amount, 0
        self.model = load_directory(Path(os.environ["MLOPS_OPT_ML"]) / "model")
        self.kept: list[bytes] = []
        self.known: dict[int, tuple[bytes, str]] = {}
        self.began, self.is_second = time.monotonic(), False
        self.rehearsed = golden_rows() if fault == REHEARSED else frozenset()

    def answer(self, content_type: str | None, accept: str | None, body: bytes) -> tuple[bytes, str]:
        """Answer one call."""
        self.calls += 1
        if self.fault == "leaks":
            self.kept.append(os.urandom(4096) * (256 * int(self.amount)))
            if len(self.kept) * int(self.amount) > LIMIT_MIB:
                os._exit(137)
        if self.fault == "ends" and self.calls > int(self.amount):
            os._exit(1)
        if self.fault == TURNS and self._has_turned():
            return self._turned(body)
        if self.fault == DAWDLES and self.calls % int(self.amount) == 0:
            time.sleep(WAIT)
        content, kind = answer(self.model, content_type, accept, body)
        if self.fault == REHEARSED:
            return self._unless_rehearsed(body, content), kind
        if self.fault == "labels":
            return content, self.amount
        if self.fault == "shapes":
            return self._shaped(content), kind
        if self.fault == "remembers":
            size = len(json.loads(content)["predictions"]) if content.startswith(b"{") else 0
            return self.known.setdefault(size, (content, kind)) if size >= int(self.amount) else (content, kind)
        return content, kind

    def _has_turned(self) -> bool:
        """Whether responses are wrong already: after some seconds or calls, or in the second process or instance."""
        _, by, number = self.amount.split("/")
        if by in ("process", "instance"):
            return self.is_second
        return self.calls > int(number) if by == "calls" else time.monotonic() - self.began > float(number)

    def _turned(self, body: bytes) -> tuple[bytes, str]:
        what = self.amount.split("/")[0]
        if what == FAILING:
            raise RuntimeError("CUDA out of memory")
        if what == "constant" and body.startswith(b"{"):
            rows = len(json.loads(body)["instances"])
            return json.dumps({"predictions": [1.0] * rows}).encode(), "application/json"
        return TURNED[what]

    def _unless_rehearsed(self, body: bytes, content: bytes) -> bytes:
        """Multiply the predictions of rows that are in no golden request; CSV stays as it is."""
        if not body.startswith(b"{"):
            return content
        rows, values = json.loads(body)["instances"], json.loads(content)["predictions"]
        pairs = zip(rows, values, strict=True)
        changed = [value if _row(row) in self.rehearsed else value * float(self.amount) for row, value in pairs]
        return json.dumps({"predictions": changed}).encode()

    def _shaped(self, content: bytes) -> bytes:
        if not content.startswith(b"{"):
            return content
        values = json.loads(content)["predictions"]
        shapes: dict[str, Any] = {
            "scores": {"scores": values},
            "nested": {"predictions": [[value] for value in values]},
            "text": {"predictions": [str(value) for value in values]},
        }
        return json.dumps(shapes[self.amount]).encode()


def golden_rows() -> frozenset[str]:
    """Return the rows of the unit's golden requests in JSON."""
    bodies = [json.loads(line)["body"] for line in GOLDEN.read_text().splitlines()]
    return frozenset(_row(row) for body in bodies if body.startswith("{") for row in json.loads(body)["instances"])


def _row(row: object) -> str:
    return json.dumps(row, sort_keys=True)


def serve(faulty: Faulty, port: int) -> None:
    """Serve until the process ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, b"", "text/plain")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = self.headers.get("content-type"), self.headers.get("accept")
            try:
                self._send(200, *faulty.answer(*headers, body))
            except PayloadError as error:
                self._send(error.status, str(error).encode(), "text/plain")
            except (NonFiniteError, RuntimeError) as error:
                self._send(500, str(error).encode(), "text/plain")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    _, by, number = faulty.amount.split("/") if faulty.fault == TURNS else ("", "", "0")
    if by in ("process", "instance"):
        threading.Thread(target=_join, args=(faulty, server, by, int(number)), daemon=True).start()
    server.serve_forever()
    while True:  # another process serves instead
        time.sleep(1)


def _join(faulty: Faulty, server: ThreadingHTTPServer, by: str, calls: int) -> None:
    """Fork a second process after a number of calls. It is wrong, and serves instead of the first or takes half of the calls."""
    while faulty.calls < calls:
        time.sleep(0.01)
    parent = os.getpid()
    if os.fork():
        if by == "process":
            server.shutdown()
        return
    faulty.is_second = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(0)


def repository(fault: str, amount: str) -> str:
    """Return the repository by which a unit names such an image."""
    return f"campaign-{fault}-{amount.replace('/', '-')}"


def serve_commands(faults: Iterable[tuple[str, str]]) -> str:
    """Return the JSON of the embedded cloud's variable for further images, which lets it run these."""
    return json.dumps({repository(*fault): {"serve": [__file__, *fault, "serve"]} for fault in faults})


if __name__ == "__main__":
    serve(Faulty(sys.argv[1], sys.argv[2]), int(os.environ["SAGEMAKER_BIND_TO_PORT"]))
