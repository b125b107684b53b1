"""The page about third-party containers: its adapters keep the contract, as far as they run without their servers."""

import asyncio
import importlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlops_runtime.serving.container_contract import Outcome, Sample, check

ADAPTERS = Path(__file__).resolve().parents[2] / "examples" / "pages" / "containers"
ROW = dict.fromkeys(("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"), 0.5)
JSON = Sample(content_type="application/json", body=json.dumps({"instances": [ROW, ROW | {"bmi": 2.0}]}).encode())
CSV = Sample(content_type="text/csv", body=b"1,2,3,4,5,6,7,8,9,10\n2,2,3,4,5,6,7,8,9,10\n")


class SumOfColumns:
    """A model in place of scikit-learn's."""

    def predict(self, rows: list[list[float]]) -> Any:
        """Return the sum of each row."""
        return np.asarray(rows).sum(axis=1)


class Answered:
    """Stands in for Starlette's response."""

    def __init__(self, content: Any = None, status_code: int = 200) -> None:
        self.content, self.status_code = content, status_code


class Handler:
    """Stands in for a server's class or decorator that the adapter names."""

    def __init__(self, *_given: Any, **_named: Any) -> None:
        self._model = SumOfColumns()

    def __call__(self, decorated: Any) -> Any:
        """Return the function undecorated."""
        return decorated


def _module(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    module = ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import an adapter as its server does: with its folder on the path and stand-ins for the server's modules."""
    names = {path.stem for path in ADAPTERS.glob("[a-z]*.py")}
    monkeypatch.syspath_prepend(str(ADAPTERS))
    _module(monkeypatch, "joblib", load=lambda _path: SumOfColumns())
    for package in ("mlserver", "starlette", "sagemaker_inference"):
        _module(monkeypatch, package)
    _module(monkeypatch, "sagemaker_inference.transformer", Transformer=type("Transformer", (), {}))
    _module(monkeypatch, "bentoml", service=lambda decorated: decorated, asgi_app=Handler)
    _module(monkeypatch, "mlserver.handlers", custom_handler=Handler)
    _module(monkeypatch, "mlserver_sklearn", SKLearnModel=Handler)
    _module(monkeypatch, "starlette.applications", Starlette=Handler)
    _module(monkeypatch, "starlette.routing", Route=Handler)
    _module(monkeypatch, "starlette.requests", Request=object)
    _module(monkeypatch, "starlette.responses", JSONResponse=Answered, Response=Answered)
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def served(adapter: Callable[[str], Any]) -> Iterator[str]:
    """Serve ``inference.py`` as the toolkit calls it; without its server, which drops requests at SIGTERM."""
    code = adapter("inference")
    model = code.model_fn("anywhere")

    class Served(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        status = 200

        def do_GET(self) -> None:
            self._answer(200 if self.path == "/ping" else 404, "")

        def do_POST(self) -> None:
            self.status, kind = 200, self.headers["content-type"]
            body: Any = self.rfile.read(int(self.headers["content-length"]))
            context = SimpleNamespace(set_response_status=lambda code, **_phrase: setattr(self, "status", code))
            try:
                # the toolkit decodes these two before it calls the code
                body = body.decode() if kind in ("application/json", "text/csv") else body
                text, _ = code.transform_fn(model, body, kind, "application/json", context)
            except UnicodeDecodeError as error:
                text = code.Transformer.handle_error(context, error, "Traceback (most recent call last)")[0]
            self._answer(self.status, text)

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_given: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("sample", [JSON, CSV], ids=["json", "csv"])
def test_the_inference_script_keeps_the_contract(served: str, sample: Sample) -> None:
    """Passes every rule of the contract that can be checked without a server."""
    verdicts = check(served, sample=sample)

    assert [verdict for verdict in verdicts if verdict.outcome is Outcome.FAILED] == []
    assert sum(verdict.outcome is Outcome.PASSED for verdict in verdicts) == 13


@pytest.mark.parametrize("name", ["bento_service", "sagemaker_runtime"])
def test_a_service_of_another_server_answers_and_refuses(adapter: Callable[[str], Any], name: str) -> None:
    """Returns predictions for rows, 415 for an unknown type, 400 for malformed requests."""
    module = adapter(name)
    service = module.SageMakerModel() if name == "sagemaker_runtime" else module

    def ask(body: bytes, kind: str) -> Answered:
        async def read() -> bytes:
            return body

        request = SimpleNamespace(body=read, headers={"content-type": kind})
        answered: Answered = asyncio.run(service.invocations(request))
        return answered

    assert ask(CSV.body, "text/csv").content == {"predictions": [55.0, 56.0]}
    assert ask(JSON.body, "application/json; charset=utf-8").content == {"predictions": [5.0, 6.5]}
    assert (ask(b"x", "a/b").status_code, ask(b"[" * 100_000, "application/json").status_code) == (415, 400)


def test_nesting_is_refused_before_mlflow(monkeypatch: pytest.MonkeyPatch, adapter: Callable[[str], Any]) -> None:
    """Registers an error handler that answers deeply nested requests before MLflow's application."""
    reported: dict[type[Exception], Any] = {}

    def exception_handler(kind: type[Exception]) -> Callable[[Any], None]:
        return lambda handler: reported.__setitem__(kind, handler)

    for package in ("mlflow", "mlflow.pyfunc", "mlflow.pyfunc.scoring_server", "fastapi"):
        _module(monkeypatch, package, Request=object)
    _module(monkeypatch, "fastapi.responses", JSONResponse=Answered)
    app = SimpleNamespace(exception_handler=exception_handler)
    _module(monkeypatch, "mlflow.pyfunc.scoring_server.app", app=app)
    adapter("mlflow_server")

    assert reported[RecursionError](None, RecursionError()).status_code == 400
