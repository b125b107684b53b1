"""Images whose server is at fault, whatever model they serve: ``python images.py <fault> <amount> serve``.

They answer SageMaker's contract with the real model, and then leak, end, or answer otherwise than they should.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mlops_runtime.serving.http_app import NonFiniteError, answer
from mlops_runtime.serving.onnx_model import load_directory
from mlops_runtime.serving.request_payload import PayloadError

LIMIT_MIB = 512  # what the container may take beyond what it starts with; the platform kills it there
FAULTS = ("leaks", "ends", "labels", "shapes", "remembers")


class Faulty:
    """A model behind a faulty server.

    Args:
        fault: One of `FAULTS`.
        amount: How much of it: MiB a call, calls until the end, the content type, the shape, or how many rows an answer is kept by.
    """

    def __init__(self, fault: str, amount: str) -> None:
        self.fault, self.amount, self.calls = fault, amount, 0
        self.model = load_directory(Path(os.environ["MLOPS_OPT_ML"]) / "model")
        self.kept: list[bytes] = []
        self.known: dict[int, tuple[bytes, str]] = {}

    def answer(self, content_type: str | None, accept: str | None, body: bytes) -> tuple[bytes, str]:
        """Answer one call."""
        self.calls += 1
        if self.fault == "leaks":
            self.kept.append(os.urandom(4096) * (256 * int(self.amount)))
            if len(self.kept) * int(self.amount) > LIMIT_MIB:
                os._exit(137)
        if self.fault == "ends" and self.calls > int(self.amount):
            os._exit(1)
        content, kind = answer(self.model, content_type, accept, body)
        if self.fault == "labels":
            return content, self.amount
        if self.fault == "shapes":
            return self._shaped(content), kind
        if self.fault == "remembers":
            size = len(json.loads(content)["predictions"]) if content.startswith(b"{") else 0
            return self.known.setdefault(size, (content, kind)) if size >= int(self.amount) else (content, kind)
        return content, kind

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


def serve(faulty: Faulty, port: int) -> None:
    """Serve until the end of the process."""

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
            """Say nothing of each call."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(Faulty(sys.argv[1], sys.argv[2]), int(os.environ["SAGEMAKER_BIND_TO_PORT"]))
