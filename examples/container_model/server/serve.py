"""A model server with its own model format, using only the standard library and nothing of the platform.

It listens on 127.0.0.1, or on the address of its argument, which is 0.0.0.0 in a container. It serves ``/ping``, and predictions
for rows of named values at ``/invocations``.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
MODEL: dict[str, float] = json.loads((FOLDER / "weights.json").read_text())["weights"]
IDLE_SECONDS = 60


class Handler(BaseHTTPRequestHandler):
    """Handler of pings and predictions."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        """Answer a ping."""
        self.answer(200 if self.path == "/ping" else 404, {})

    def do_POST(self) -> None:
        """Return one number per row for ``{"instances": [{"price": 7.5, "promoted": 1.0}]}``, and a 4xx for other requests."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/invocations":
            return self.answer(404, {"error": "send requests to /invocations"})
        if self.headers.get_content_type() != "application/json":
            return self.answer(415, {"error": "the content type must be application/json"})
        try:
            rows = json.loads(body)["instances"]
            found = [sum(weight * float(row[name]) for name, weight in MODEL.items()) for row in rows]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return self.answer(400, {"error": f"a row must have {', '.join(MODEL)}: {type(error).__name__}"})
        if not found:
            return self.answer(400, {"error": "a request must have at least one row"})
        return self.answer(200, {"predictions": found})

    def answer(self, status: int, document: Any) -> None:
        """Send a JSON document."""
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    ThreadingHTTPServer((host, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler).serve_forever()
