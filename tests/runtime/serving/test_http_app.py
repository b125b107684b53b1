"""The HTTP adapter through an ASGI client: statuses, limits, fuzzed input, and callers of a server on a developer's machine."""

import asyncio
import hashlib
import itertools
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.runtime import kinds

from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.monitor.counting.capture_lines import read_call
from mlops_runtime.serving.http_app import Application, refusal
from mlops_runtime.serving.onnx_model import load
from mlops_runtime.serving.server_capture import Recorder
from mlops_runtime.serving.settings import CaptureSettings

URL = "http://server.test"
ROW = {"price": 1.0, "stock": None, "store": "east"}
HOSTS = {"127.0.0.1:8080", "localhost:8080"}


def call(app: Any, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Send one request to the application without a socket."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            return await client.request(method, path, **arguments)

    return asyncio.run(send())


@pytest.fixture(scope="module")
def app(models: Any) -> Any:
    """Return a server whose model has finite predictions."""
    return Application(load(models.onnx(), models.signature_json()), max_body_bytes=100_000)


def test_ping_answers_with_an_empty_200(app: Any) -> None:
    """SageMaker's health check."""
    answer = call(app, "GET", "/ping")
    assert (answer.status_code, answer.content) == (200, b"")


class _Held:
    """A model whose calls end on release."""

    manifest = None

    def __init__(self, signature: ModelSignature) -> None:
        self.signature, self.sha256 = signature, "0" * 64
        self.is_called, self.go = threading.Event(), threading.Event()
        self.go.set()

    def predict(self, rows: Any) -> Any:
        self.is_called.set()
        assert self.go.wait(60)
        return np.zeros(len(rows), dtype=np.float32)


def test_ping_is_answered_while_a_slow_model_predicts(models: Any) -> None:
    """A model slower than two milliseconds predicts in threads."""
    model = _Held(models.signature)
    ticks = itertools.count()
    app = Application(model, clock=lambda: float(next(ticks)))  # type: ignore[arg-type] # each reading is a second later

    async def both() -> tuple[int, bool, int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            model.is_called.clear()
            model.go.clear()
            asking = asyncio.create_task(client.post("/invocations", json={"instances": [ROW]}))
            assert await asyncio.to_thread(model.is_called.wait, 60)
            ping, was_done = await client.get("/ping"), asking.done()
            model.go.set()
            return ping.status_code, was_done, (await asking).status_code

    assert asyncio.run(both()) == (200, False, 200)


def test_json_in_json_out(app: Any) -> None:
    """One prediction per row, in order."""
    answer = call(app, "POST", "/invocations", json={"instances": [ROW, {**ROW, "price": 2}]})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [22.0, 24.0]})


def test_csv_in_csv_out(app: Any) -> None:
    """CSV needs no header and has the signature's column order."""
    headers = {"content-type": "text/csv", "accept": "text/csv"}
    answer = call(app, "POST", "/invocations", content='1,,"south, old"\n2,4,north\n', headers=headers)
    assert (answer.status_code, answer.text) == (200, "12.0\n6.0\n")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"


def test_many_rows_are_answered_as_few(app: Any) -> None:
    """A body processed in a thread has the same response."""
    answer = call(app, "POST", "/invocations", json={"instances": [ROW] * 1000})
    assert answer.json() == {"predictions": [22.0] * 1000}


def test_fails_with_the_column_for_a_bad_value(app: Any) -> None:
    """The caller's error is a 400 with the position."""
    answer = call(app, "POST", "/invocations", json={"instances": [{**ROW, "price": "1"}]})
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "the request cannot be answered", "problems": ["instances[0].price must be a number, got '1'"]},
    )


def test_fails_for_a_body_that_is_too_long(app: Any) -> None:
    """A declared length is rejected unread, a streamed body once it is too long."""
    headers = {"content-type": "text/csv"}
    answer = call(app, "POST", "/invocations", content=b"1" * 100_001, headers=headers)
    assert (answer.status_code, answer.json()["problems"]) == (
        413,
        ["the body must be at most 100000 bytes, got 100001"],
    )

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"1" * 10_000

    answer = call(app, "POST", "/invocations", content=endless(), headers=headers)
    assert (answer.status_code, answer.json()["problems"]) == (413, ["the body must be at most 100000 bytes"])


def test_fails_by_name_for_a_prediction_that_is_not_finite(models: Any) -> None:
    """NaN and infinity are the server's error, never a number in the response."""
    app = Application(load(models.onnx((1.0, 0.0, 0.0), log=True), models.signature_json()))
    rows = [{**ROW, "price": price} for price in (1, 0, -1)]
    answer = call(app, "POST", "/invocations", json={"instances": rows})
    message = "the model gave a non-finite prediction for 2 of 3 rows: 1, 2"
    assert (answer.status_code, answer.json()) == (500, {"error": message})


def test_fails_without_a_trace_for_an_unexpected_error(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An internal error is a 500 without details."""
    app = Application(load(models.onnx(), models.signature_json()))
    monkeypatch.setattr("mlops_runtime.serving.http_app.encode", lambda *_: 1 / 0)
    answer = call(app, "POST", "/invocations", json={"instances": [ROW]})
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error while serving /invocations"})


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/invocations", 405), ("GET", "/", 404)])
def test_fails_for_other_paths(app: Any, method: str, path: str, status: int) -> None:
    """The response lists the paths."""
    answer = call(app, method, path)
    message = f"{method} {path} is not served; use GET /ping or POST /invocations, "
    message += "or of the Open Inference Protocol GET /v2 and POST /v2/models/model/infer"
    assert (answer.status_code, answer.json()) == (status, {"error": message})


def test_an_answer_says_which_model_gave_it_and_for_which_id(app: Any, models: Any) -> None:
    """The first digits of its hash; the caller's id, or a new one."""
    version = hashlib.sha256(models.onnx()).hexdigest()[:12]
    body = {"instances": [ROW]}
    given_id = call(app, "POST", "/invocations", json=body, headers={"x-amzn-sagemaker-inference-id": "mine"})
    assert (given_id.headers["x-model-version"], given_id.headers["x-inference-id"]) == (version, "mine")
    # SageMaker forwards only the custom attributes of these
    assert given_id.headers["x-amzn-sagemaker-custom-attributes"] == f"model={version}"
    made = {call(app, "POST", "/invocations", json=body).headers["x-inference-id"] for _ in range(3)}
    assert len(made) == 3


@pytest.mark.parametrize("identity", ["", "x" * 65, "a\tb"])
def test_fails_for_an_inference_id_that_sagemaker_refuses(app: Any, identity: str) -> None:
    """64 printable ASCII characters, as InvokeEndpoint allows (botocore, sagemaker-runtime, InferenceId)."""
    answer = call(
        app, "POST", "/invocations", json={"instances": [ROW]}, headers={"x-amzn-sagemaker-inference-id": identity}
    )
    assert answer.status_code == 400
    assert answer.json()["problems"][0].startswith("an inference id must be 1 to 64 printable ASCII characters, got")


V2 = {
    "id": "mine",
    "inputs": [
        {"name": "price", "datatype": "FP32", "shape": [2], "data": [1, 2]},
        {"name": "store", "datatype": "BYTES", "shape": [2], "data": ["east", "x"]},
    ],
}


def test_the_open_inference_protocol_is_spoken(app: Any, models: Any) -> None:
    """Health, metadata with and without a version, inference: the same predictions as by the other protocol."""
    version = hashlib.sha256(models.onnx()).hexdigest()[:12]
    for path in (
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/model/ready",
        f"/v2/models/model/versions/{version}/ready",
    ):
        assert call(app, "GET", path).status_code == 200
    assert call(app, "GET", "/v2").json() == {"name": "mlops-constructs", "version": version, "extensions": []}
    metadata = call(app, "GET", "/v2/models/model").json()
    assert metadata == call(app, "GET", f"/v2/models/model/versions/{version}").json()
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["price", "stock", "store"]
    answer = call(app, "POST", "/v2/models/model/infer", json=V2)
    output = {"name": "units", "shape": [2], "datatype": "FP32", "data": [22.0, -6.0]}
    assert answer.json() == {"model_name": "model", "model_version": version, "id": "mine", "outputs": [output]}
    assert answer.headers["x-inference-id"] == "mine"


@pytest.mark.parametrize(
    ("path", "content_type", "status"),
    [
        ("/v2/models/other/infer", "application/json", 404),
        ("/v2/models/model/versions/9/infer", "application/json", 404),
        ("/v2/models/model/infer", "text/csv", 415),
    ],
)
def test_fails_for_another_model_or_type(app: Any, path: str, content_type: str, status: int) -> None:
    """The protocol's error is an object with a text."""
    answer = call(app, "POST", path, content=json.dumps(V2), headers={"content-type": content_type})
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)


def test_fails_for_a_method_with_those_that_are_allowed(app: Any) -> None:
    """As HTTP requires for a 405."""
    assert call(app, "DELETE", "/ping").headers["allow"] == "GET, HEAD"
    assert call(app, "GET", "/v2/models/model/infer").headers["allow"] == "POST"
    assert (call(app, "HEAD", "/v2").status_code, call(app, "HEAD", "/v2").content) == (200, b"")


def test_answers_are_counted_by_route_and_status(models: Any) -> None:
    """Unknown paths share one series."""
    app = Application(load(models.onnx(), models.signature_json()), name="demand")
    call(app, "POST", "/invocations", json={"instances": [ROW] * 3})
    call(app, "POST", "/invocations", json={})
    for number in range(5):
        call(app, "GET", f"/{number}")
    answer = call(app, "GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    for expected in (
        'mlops_requests_total{route="invocations",status="200"} 1',
        'mlops_requests_total{route="invocations",status="400"} 1',
        'mlops_requests_total{route="other",status="404"} 5',
        'mlops_request_seconds_count{route="invocations"} 2',
        "mlops_predictions_total 3",
        f'mlops_model_info{{name="demand",sha256="{hashlib.sha256(models.onnx()).hexdigest()}"}} 1',
    ):
        assert expected in lines


def test_calls_are_captured_by_either_door(models: Any) -> None:
    """Successful calls in one format with the caller's id; rejected ones are not captured."""
    objects: list[bytes] = []
    settings = CaptureSettings(bucket="b", prefix="p", endpoint="e", variant="v", percent=100, queue_bytes=10**7)
    recorder = Recorder(settings, lambda _, content: objects.append(content))
    app = Application(load(models.onnx(), models.signature_json()), recorder=recorder)
    many = [ROW] * 1000
    answer = call(app, "POST", "/invocations", json={"instances": [ROW]})
    call(app, "POST", "/invocations", json={"instances": many}, headers={"x-amzn-sagemaker-inference-id": "many"})
    call(app, "POST", "/invocations", json={"instances": [7]})
    call(app, "POST", "/v2/models/model/infer", json=V2)
    call(app, "GET", "/ping")
    assert 'mlops_capture_calls_total{outcome="dropped"} 0' in call(app, "GET", "/metrics").text
    recorder.close(10)
    names = ["price", "stock", "store"]
    first, second, third = (read_call(line, names) for line in b"".join(objects).splitlines())
    assert (list(map(list, first.rows or ())), first.predictions) == ([[1.0, None, "east"]], [22.0])
    assert (len(second.rows or ()), second.predictions) == (1000, [22.0] * 1000)
    assert (list(map(list, third.rows or ())), third.predictions) == ([[1, None, "east"], [2, None, "x"]], [22.0, -6.0])
    ids = [json.loads(line)["eventMetadata"] for line in b"".join(objects).splitlines()]
    assert ids[0]["eventId"] == answer.headers["x-inference-id"]
    assert [one.get("inferenceId") for one in ids] == [None, "many", "mine"]


JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["instances", "price", "store", "x"]), inner)
    ),
    max_leaves=12,
)
BODY = st.one_of(
    st.binary(max_size=64),
    JSON_VALUE.map(lambda value: json.dumps(value).encode()),
    st.lists(JSON_VALUE, max_size=4).map(lambda rows: json.dumps({"instances": rows}).encode()),
    st.lists(st.tuples(JSON_VALUE, JSON_VALUE, JSON_VALUE), max_size=4).map(
        lambda r: json.dumps({"instances": r}).encode()
    ),
    st.text(st.sampled_from('0123456789.,-+eE"\n\r naif'), max_size=40).map(str.encode),
)
HEADER = st.sampled_from(["application/json", "text/csv", "text/csv; charset=x", "", "a/b;;=", "*/*", "text/csv;q=0"])


@given(body=BODY, content_type=HEADER, accept=HEADER)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_nothing_that_a_caller_sends_is_a_server_error(app: Any, body: bytes, content_type: str, accept: str) -> None:
    """Every request gets predictions or a rejection with reasons."""
    headers = {"content-type": content_type, "accept": accept}
    answer = call(app, "POST", "/invocations", content=body, headers=headers)
    assert answer.status_code in (200, 400, 406, 415)
    if answer.status_code != 200:
        assert answer.json()["problems"]


@pytest.fixture(scope="module", params=["classes", "numbers"])
def several(request: Any) -> Any:
    """Return a server of wines (three classes) or men (two outputs), its model, and rows with scikit-learn's results."""
    model = load(*kinds.files(request.param))
    if request.param == "classes":
        rows = kinds.matrix(kinds.wine(), kinds.wine_inputs())
        return model, Application(model), rows, kinds.classifier().predict_proba(rows)
    rows = kinds.matrix(kinds.men(), kinds.MEN_INPUTS)
    return model, Application(model), rows, kinds.regressor().predict(rows)


def test_a_list_a_row_is_answered_as_json_csv_and_v2(several: Any) -> None:
    """Equal to scikit-learn's: a list per row, CSV columns, and a flat two-dimensional tensor."""
    model, app, rows, expected = several
    body = json.dumps({"instances": rows.tolist()})
    answer = call(app, "POST", "/invocations", content=body, headers={"content-type": "application/json"})
    assert np.array(answer.json()["predictions"]) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    lines = "\n".join(",".join(map(str, row)) for row in rows.tolist())
    headers = {"content-type": "text/csv", "accept": "text/csv"}
    text = call(app, "POST", "/invocations", content=lines, headers=headers).text
    assert [line.count(",") for line in text.splitlines()] == [expected.shape[1] - 1] * len(rows)
    assert np.loadtxt(text.splitlines(), delimiter=",") == pytest.approx(expected, rel=1e-3, abs=1e-4)
    tensor = {"name": "rows", "shape": list(rows.shape), "datatype": "FP32", "data": rows.reshape(-1).tolist()}
    found = call(app, "POST", "/v2/models/model/infer", json={"inputs": [tensor]}).json()["outputs"][0]
    assert found["shape"] == list(expected.shape)
    assert np.array(found["data"]).reshape(expected.shape) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    declared = call(app, "GET", "/v2/models/model").json()["outputs"]
    assert declared == [{"name": model.signature.output, "datatype": "FP32", "shape": [-1, expected.shape[1]]}]


def test_a_row_of_a_list_with_one_value_that_is_not_finite_is_named(several: Any) -> None:
    """By its row, not its index among all values."""

    class Broken:
        signature, sha256, manifest = several[0].signature, "0" * 64, None

        def predict(self, rows: Any) -> Any:
            answer = np.zeros((len(rows), self.signature.columns), dtype=np.float32)
            answer[2:, 1] = np.nan
            return answer

    app = Application(Broken())  # type: ignore[arg-type] # gives what a model gives
    answer = call(app, "POST", "/invocations", json={"instances": several[2][:3].tolist()})
    assert answer.json() == {"error": "the model gave a non-finite prediction for 1 of 3 rows: 2"}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"host": "127.0.0.1:8080"}, None),
        ({"host": "LOCALHOST:8080"}, None),
        ({"host": "localhost:8080", "origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}, None),
        ({"host": "localhost:8080", "sec-fetch-site": "none"}, None),
        ({"host": "localhost:8080", "origin": "http://localhost:9090"}, "origin 'http://localhost:9090'"),
        ({"host": "localhost:8080", "origin": "null"}, "origin 'null'"),
        ({"host": "localhost:8080", "sec-fetch-site": "same-site"}, "another site (same-site)"),
        ({"host": "evil.example:8080"}, "use 127.0.0.1:8080 or localhost:8080"),
        ({"host": "127.0.0.1"}, "Host '127.0.0.1'"),
        ({}, "Host ''"),
    ],
)
def test_pages_and_foreign_names_are_refused(headers: dict[str, str], reason: str | None) -> None:
    """Programs send no ``Origin``; a page's own name is in ``Host``."""
    found = refusal([(name.encode(), value.encode()) for name, value in headers.items()], HOSTS)
    assert found is None if reason is None else found is not None and reason in found
