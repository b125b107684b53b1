"""The HTTP adapter through an ASGI client: statuses, limits and a fuzz of everything a caller may send."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_runtime.serving.app import build
from mlops_runtime.serving.model import load

URL = "http://server.test"
ROW = {"price": 1.0, "stock": None, "store": "east"}


def call(app: Any, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Send one request to the application, without a socket."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            return await client.request(method, path, **arguments)

    return asyncio.run(send())


@pytest.fixture(scope="module")
def app(models: Any) -> Any:
    """A server whose model has finite predictions."""
    return build(load(models.onnx(), models.signature_json()), max_body_bytes=100_000)


def test_ping_answers_with_an_empty_200(app: Any) -> None:
    """SageMaker's health check."""
    answer = call(app, "GET", "/ping")
    assert (answer.status_code, answer.content) == (200, b"")


def test_json_in_json_out(app: Any) -> None:
    """One prediction a row, in order."""
    answer = call(app, "POST", "/invocations", json={"instances": [ROW, {**ROW, "price": 2}]})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [22.0, 24.0]})


def test_csv_in_csv_out(app: Any) -> None:
    """CSV needs no header and keeps the signature's column order."""
    headers = {"content-type": "text/csv", "accept": "text/csv"}
    answer = call(app, "POST", "/invocations", content='1,,"south, old"\n2,4,north\n', headers=headers)
    assert (answer.status_code, answer.text) == (200, "12.0\n6.0\n")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"


def test_many_rows_are_answered_as_few(app: Any) -> None:
    """A body that goes to a thread has the same answer."""
    answer = call(app, "POST", "/invocations", json={"instances": [ROW] * 1000})
    assert answer.json() == {"predictions": [22.0] * 1000}


def test_fails_with_the_column_for_a_bad_value(app: Any) -> None:
    """The caller's mistake is a 400 that says where."""
    answer = call(app, "POST", "/invocations", json={"instances": [{**ROW, "price": "1"}]})
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "the request cannot be answered", "problems": ["instances[0].price must be a number, got '1'"]},
    )


def test_fails_for_a_body_that_is_too_long(app: Any) -> None:
    """A declared length is refused unread, a streamed one as soon as it is too long."""
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
    """NaN and infinity are the server's failure, never a number in the answer."""
    app = build(load(models.onnx((1.0, 0.0, 0.0), log=True), models.signature_json()))
    rows = [{**ROW, "price": price} for price in (1, 0, -1)]
    answer = call(app, "POST", "/invocations", json={"instances": rows})
    message = "the model gave a non-finite prediction for 2 of 3 rows: 1, 2"
    assert (answer.status_code, answer.json()) == (500, {"error": message})


def test_fails_without_a_trace_for_an_unexpected_error(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours is a 500 that shows nothing of the inside."""
    app = build(load(models.onnx(), models.signature_json()))
    monkeypatch.setattr("mlops_runtime.serving.app.encode", lambda *_: 1 / 0)
    answer = call(app, "POST", "/invocations", json={"instances": [ROW]})
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error while serving /invocations"})


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/invocations", 405), ("GET", "/", 404)])
def test_fails_for_other_paths(app: Any, method: str, path: str, status: int) -> None:
    """What is not served says what is."""
    answer = call(app, method, path)
    message = f"{method} {path} is not served; use GET /ping or POST /invocations, "
    message += "or of the Open Inference Protocol GET /v2 and POST /v2/models/model/infer"
    assert (answer.status_code, answer.json()) == (status, {"error": message})


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
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_a_caller_sends_is_a_server_error(app: Any, body: bytes, content_type: str, accept: str) -> None:
    """Whatever arrives is answered with predictions or refused with reasons."""
    headers = {"content-type": content_type, "accept": accept}
    answer = call(app, "POST", "/invocations", content=body, headers=headers)
    assert answer.status_code in (200, 400, 406, 415)
    if answer.status_code != 200:
        assert answer.json()["problems"]
