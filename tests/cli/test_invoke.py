"""``mlops invoke``: sends a request unchanged, or the rows of a file with their ids."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.contracts.serving import PersonalSpec

Run = Callable[..., subprocess.CompletedProcess[str]]

BASELINE = Baseline(
    features=(
        FeatureBaseline(name="price", type="number", counts=(1,)),
        FeatureBaseline(name="store", type="category", counts=(1,)),
    ),
    rows=1,
    training_set_id="t",
    created="2017-08-07",
)


@contextmanager
def _served(status: int = 200, answer: bytes = b"") -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """A local service, and the requests that it received."""
    seen: list[tuple[str, str, bytes]] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Content-Type"], body))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer or body)

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def test_a_service_with_an_address_is_asked_there(on_cloud: Run, deployed: DeployedUnit, tmp_path: Path) -> None:
    """The endpoint's entry has the address; body and content type, by the file's name, are sent unchanged."""
    (tmp_path / "rows.csv").write_text("1,2\n3,4\n")
    with _served() as (url, seen):
        deployed.publish(replace(deployed.endpoint_entry, url=f"{url}/"))
        result = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.csv")

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "1,2\n3,4\n"
    assert seen == [("/invocations", "text/csv", b"1,2\n3,4\n")]


def test_an_endpoint_that_serves_nothing_yet_says_so(on_cloud: Run, deployed: DeployedUnit, tmp_path: Path) -> None:
    """It is created at the first approval."""
    (tmp_path / "rows.json").write_text("{}")

    result = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.json")

    assert result.returncode == 1
    assert (
        "serves nothing yet: it is created when the first model is approved; check with mlops status" in result.stderr
    )


def test_fails_for_an_endpoint_that_is_not_there(on_cloud: Run, tmp_path: Path) -> None:
    """The error lists existing endpoints."""
    (tmp_path / "rows.json").write_text("{}")

    result = on_cloud("invoke", "no-such", tmp_path / "rows.json")

    assert result.stderr.startswith("mlops: endpoint 'no-such' not found")


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("none.csv", "file 'none.csv' not found; name a file, or - for standard input"),
        (
            "rows.txt",
            "the extension of 'rows.txt' is not .parquet, .csv, .jsonl or .json; give --content-type",
        ),
    ],
)
def test_fails_for_a_file_that_cannot_be_sent(mlops: Run, tmp_path: Path, file: str, problem: str) -> None:
    """Fails before any account is called."""
    (tmp_path / "rows.txt").write_text("1")

    assert mlops("invoke", "demand-forecast", file).stderr == f"mlops: {problem}\n"


def test_a_refusal_of_the_service_is_one_line(on_cloud: Run, deployed: DeployedUnit, tmp_path: Path) -> None:
    """The line has status and message."""
    (tmp_path / "rows.json").write_text("{}")
    with _served(400, json.dumps({"error": "column 'price'\nis missing"}).encode()) as (url, _):
        deployed.publish(replace(deployed.endpoint_entry, url=url))
        result = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.json")

    assert result.returncode == 1
    assert "returned 400: " in result.stderr
    assert "column 'price'" in result.stderr


def test_personal_fields_are_found_by_name_or_nothing_is_sent(
    on_cloud: Run, deployed: DeployedUnit, tmp_path: Path
) -> None:
    """They are removed from JSON; CSV has no field names."""
    personal = PersonalSpec(withheld=("email",))
    (tmp_path / "rows.json").write_text('{"instances": [{"email": "ann@x.example", "price": 1}]}')
    (tmp_path / "rows.csv").write_text("ann@x.example,1")
    with _served() as (url, seen):
        deployed.publish(replace(deployed.endpoint_entry, url=url, personal=personal))
        sent = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.json")
        refused = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.csv")

    assert json.loads(sent.stdout) == {"instances": [{"price": 1}]}
    assert (refused.returncode, len(seen)) == (1, 1)
    assert "text/csv has no names to identify them" in refused.stderr


@pytest.fixture
def model() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A model that doubles the price, and the requests that it received."""
    seen: list[dict[str, Any]] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"id": self.headers["X-Amzn-SageMaker-Inference-Id"], "rows": body["instances"]})
            wrong = [row for row in body["instances"] if not isinstance(row.get("price"), int | float)]
            self.send_response(400 if wrong else 200)
            self.end_headers()
            answer = {"error": "instances[0].price must be a number"}
            done = {"predictions": [2 * row["price"] for row in body["instances"]]} if not wrong else answer
            self.wfile.write(json.dumps(done).encode())

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def test_rows_of_parquet_get_a_prediction_each(
    model: tuple[str, list[dict[str, Any]]], on_cloud: Run, deployed: DeployedUnit, tmp_path: Path
) -> None:
    """Without a live baseline all columns are sent; nulls stay null."""
    url, seen = model
    deployed.publish(replace(deployed.endpoint_entry, url=url))
    parquet.write_table(pa.table({"price": [1.5, 2.0], "store": ["a", None]}), tmp_path / "rows.parquet")
    done = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.parquet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3.0\n4.0\n", "2 rows in 1 calls\n")
    assert seen == [{"id": None, "rows": [{"price": 1.5, "store": "a"}, {"price": 2.0, "store": None}]}]


def test_rows_with_ids_can_be_labelled(
    model: tuple[str, list[dict[str, Any]]], on_cloud: Run, deployed: DeployedUnit, tmp_path: Path
) -> None:
    """A program reads ids with predictions; labels with these ids match the captured rows."""
    url, seen = model
    bucket = f"{deployed.name}-captures"
    deployed.s3.create_bucket(Bucket=bucket)
    deployed.publish(replace(deployed.endpoint_entry, url=url, capture_bucket=bucket))
    deployed.s3.put_object(Bucket=bucket, Key="baseline.json", Body=canonical_json(BASELINE))
    deployed.serve(1, baseline_uri=f"s3://{bucket}/baseline.json")
    (tmp_path / "rows.csv").write_text("order,price,store,units\no1,1,7,10\no2,2,8,20\n")

    done = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.csv", "--ids", "order", "--json")
    assert done.stderr == "not sent: units\n"
    assert json.loads(done.stdout) == {
        "endpoint": deployed.endpoint,
        "rows": 2,
        "calls": 1,
        "predictions": [{"id": "o1", "prediction": 2}, {"id": "o2", "prediction": 4}],
    }
    assert seen[0]["rows"] == [{"price": 1, "store": "7"}, {"price": 2, "store": "8"}]
    assert seen[0]["id"].startswith("rows-")

    put = on_cloud(
        "labels", "put", deployed.endpoint, tmp_path / "rows.csv", "--ids", "order", "--value", "units", "--json"
    )
    assert (json.loads(put.stdout)["added"], json.loads(put.stdout)["unknown"]) == (2, 0)


def test_fails_on_rows_that_the_model_refuses(
    model: tuple[str, list[dict[str, Any]]], on_cloud: Run, deployed: DeployedUnit, tmp_path: Path
) -> None:
    """The error has the rows, the server's status and its message."""
    deployed.publish(replace(deployed.endpoint_entry, url=model[0]))
    (tmp_path / "rows.csv").write_text("price,store\n1,a\nmuch,b\n")
    done = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert "rows 1 to 2 of rows.csv were refused (400): " in done.stderr
    assert "instances[0].price must be a number" in done.stderr


def test_fails_on_ids_that_cannot_be_labelled(
    model: tuple[str, list[dict[str, Any]]], on_cloud: Run, deployed: DeployedUnit, tmp_path: Path
) -> None:
    """Covers missing capture, personal columns, duplicates and whole requests; nothing is sent."""
    url, seen = model
    entry = replace(deployed.endpoint_entry, url=url)
    deployed.publish(entry)
    (tmp_path / "rows.csv").write_text("order,price\no1,1\no1,2\n")
    (tmp_path / "one.csv").write_text("1,2\n")
    arguments = ("invoke", deployed.endpoint, tmp_path / "rows.csv", "--ids", "order")
    assert "captures nothing, so rows with ids could not be joined with labels" in on_cloud(*arguments).stderr

    deployed.publish(replace(entry, capture_bucket="none", personal=PersonalSpec(withheld=("order",))))
    assert "column 'order' is personal, and ids are sent and stored unchanged" in on_cloud(*arguments).stderr

    deployed.publish(replace(entry, capture_bucket="none"))
    assert "an id is the same as that of another row in 1 row (2: 'o1')" in on_cloud(*arguments).stderr
    assert on_cloud("invoke", deployed.endpoint, tmp_path / "one.csv", "--ids", "order").returncode == 2
    assert (
        "no column of rows.csv can be sent"
        in on_cloud(*arguments[:3], "--leave-out", "order", "--leave-out", "price").stderr
    )
    assert seen == []


def test_an_answer_is_a_document_too(on_cloud: Run, deployed: DeployedUnit, tmp_path: Path) -> None:
    """Works for any response; a single endpoint need not be named."""
    (tmp_path / "rows.json").write_text('{"instances": []}')
    with _served(200, b"1,2") as (url, _):
        deployed.publish(replace(deployed.endpoint_entry, url=url))
        done = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.json", "--json")
    assert json.loads(done.stdout) == {"endpoint": deployed.endpoint, "answer": "1,2"}
