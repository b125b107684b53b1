"""An account in moto with one unit, and a model server that adds up its input."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.runtime.client.world import ENDPOINT, PIPELINE, UNIT, parameters

from mlops_runtime.client.connection import Connection
from mlops_runtime.contracts.unit_entries import entry_name, entry_value

NOW = datetime(2017, 8, 20, 9, 30, tzinfo=UTC)


class _Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Answer with price + 1 a row, or refuse a row of price -1."""
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        self.server.got.append(rows)  # type: ignore[attr-defined]
        bad = any(row["price"] == -1 for row in rows)
        body = json.dumps(
            {"error": "price is -1"} if bad else {"predictions": [row["price"] + 1 for row in rows]}
        ).encode()
        self.send_response(400 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server:
    """The server of a model: its address, and the rows of each call."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
        self.got: list[list[dict[str, Any]]] = []
        self._server.got = self.got  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    """A running server."""
    made = Server()
    yield made
    made.stop()


class Account:
    """Clients of the account, and what its unit publishes."""

    def __init__(self, url: str) -> None:
        self.session = boto3.Session(
            region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        self.endpoint = replace(ENDPOINT, url=url)
        ssm = self.client("ssm")
        for name, value in parameters(UNIT, PIPELINE, self.endpoint).items():
            ssm.put_parameter(Name=name, Value=value, Type="String")
        for bucket in ("artifacts", "data", "captures"):
            self.client("s3").create_bucket(Bucket=bucket)
        for table, keys in {"retraining": ("pipeline", "item"), "rollout": ("endpoint",)}.items():
            self.client("dynamodb").create_table(
                TableName=table,
                KeySchema=[
                    {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
                ],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
                BillingMode="PAY_PER_REQUEST",
            )
        self.client("events").create_event_bus(Name="bus")
        definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
        self.client("stepfunctions").create_state_machine(
            name="Retrain", definition=definition, roleArn="arn:aws:iam::123456789012:role/r"
        )

    def client(self, service: str) -> Any:
        """Return a client."""
        return self.session.client(service)

    def publish(self, entry: Any) -> None:
        """Replace an entry."""
        self.client("ssm").put_parameter(
            Name=entry_name(entry), Value=entry_value(entry), Type="String", Overwrite=True
        )


@pytest.fixture
def account(served: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """The account, at a fixed time."""
    served.got.clear()
    monkeypatch.setattr(Connection, "now", lambda _: NOW)
    with mock_aws():
        yield Account(served.url)
