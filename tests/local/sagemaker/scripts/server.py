"""A tiny model server: SageMaker's contract with the standard library, and faults on request."""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = Path(os.environ["MLOPS_OPT_ML"], "model", "name.txt").read_text()
PING = os.environ.get("PING", "200")


class Handler(BaseHTTPRequestHandler):
    """Answers pings and invocations."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a ping, or the batch settings if the environment enables them."""
        if self.path == "/execution-parameters":
            found = os.environ.get("EXECUTION_PARAMETERS", "")
            self._answer(200 if found else 404, found.encode())
            return
        self._answer(int(PING), b"")

    def do_POST(self) -> None:
        """Answer an invocation."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if NAME == "broken":
            self._answer(500, b"broken model")
            return
        if self.headers["content-type"] == "text/csv":
            self._answer(200, body.upper(), "text/csv; charset=utf-8")
            return
        requested = json.loads(body)
        time.sleep(requested.get("sleep", 0))
        if "exit" in requested:
            os._exit(requested["exit"])
        answer = {
            "model": NAME,
            "inference_id": self.headers["x-amzn-sagemaker-inference-id"],
            "keys": sorted(os.environ),
        }
        padding = "x" * requested.get("size", 0)
        self._answer(requested.get("status", 200), json.dumps({**answer, "padding": padding}).encode())

    def _answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.send_header(
            "x-amzn-sagemaker-custom-attributes", self.headers.get("x-amzn-sagemaker-custom-attributes", "")
        )
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Log nothing."""


if PING == "exit":
    sys.exit("this server does not start")
sys.stdout.write(f"serving {NAME}\n")
ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
