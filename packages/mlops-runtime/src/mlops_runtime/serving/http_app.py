"""HTTP application of the model server: SageMaker's two routes, the Open Inference Protocol and ``/metrics``, as plain ASGI.

It checks which callers are accepted. It uses no web framework: for a model that takes 20 microseconds, routing and request
objects were most of the cost.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import orjson

from mlops_runtime.serving import open_inference, server_metrics
from mlops_runtime.serving.feature_lookup import FeatureLookups, LookupUnavailableError
from mlops_runtime.serving.request_payload import (
    JSON,
    MAX_PROBLEMS,
    PayloadError,
    Reader,
    accepted,
    encode,
    is_all,
    parse,
)
from mlops_runtime.serving.served_model import Matrix, ServedModel, SlowModelError
from mlops_runtime.serving.server_capture import Call, Recorder, event_ids, line
from mlops_runtime.serving.settings import MAX_BODY_BYTES

# work above about a millisecond (long bodies, slow models) runs in a thread, so that /ping never waits for it
_INLINE_BYTES = 16_384
INLINE_SECONDS = 0.002
# a thread costs about 0.1 ms: with several worker processes, it pays off for calls that take a few times as long
INLINE_SECONDS_OF_WORKERS = 0.0004
_THREADS = 64
_WEIGHT = 0.1  # of the newest call in the moving average
_READ, _WRITE = ("GET", "HEAD"), ("POST",)
_INFERENCE = b"x-amzn-sagemaker-inference-id"
# See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
_MISSING, _ATTRIBUTES = b"x-features-missing", b"x-amzn-sagemaker-custom-attributes"
_MAX_INFERENCE = 64  # botocore, sagemaker-runtime, InferenceId
_ROUTES = "GET /ping or POST /invocations, or of the Open Inference Protocol GET /v2 and POST /v2/models/%s/infer"

_log = logging.getLogger("mlops.serving")
_OWN_SITES = frozenset({"none", "same-origin"})  # https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header

# https://asgi.readthedocs.io/en/latest/specs/main.html#applications
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class NonFiniteError(ArithmeticError):
    """The model returned NaN or infinity for a valid request."""


class _Head(NamedTuple):
    """Request headers that an inference needs."""

    content_type: str | None
    accept: str | None
    length: int
    inference_id: str | None


class _Inference(NamedTuple):
    """A completed inference.

    ``request`` and ``response`` are payloads in the form of ``/invocations``, for capture; ``missing`` counts the features that a
    lookup did not find, None without lookups.
    """

    content: bytes
    content_type: str
    rows: int
    inference_id: str | None
    request: tuple[bytes, str] | None
    response: tuple[bytes, str] | None
    missing: int | None = None


class _Answer(NamedTuple):
    status: int
    content: bytes
    content_type: str
    rows: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()


_Infer = Callable[[_Head, bytes, bool], _Inference]


class _Route(NamedTuple):
    """A path: its name in the metrics, its methods, and its handler, a static page or an inference."""

    name: str
    methods: Sequence[str]
    page: Callable[[], _Answer] | None = None
    infer: _Infer | None = None


def answer(model: ServedModel, content_type: str | None, accept: str | None, body: bytes) -> tuple[bytes, str]:
    """Return body and content type of the response to an invocation, without HTTP.

    Raises:
        PayloadError: If the request is invalid.
        NonFiniteError: If a prediction is NaN or infinite.
    """
    accepted(accept)
    return encode(_predict(model, parse(content_type, body, model.signature)), accept)


class Application:
    """The server's ASGI application over one model.

    Args:
        model: The loaded model; ``/ping`` returns 200 because it is loaded.
        max_body_bytes: Longer request bodies are refused with 413. Default: InvokeEndpoint's own limit.
        name: The model's name in the Open Inference Protocol. Default: ``model``.
        recorder: Records the captured calls. Default: no capture.
        clock: Measures in seconds how long calls take; slow ones run in threads. Default: the system's.
        inline_seconds: Calls that take longer run in a thread. Default: 2 ms; 0: all calls.
        lookups: Looks up the columns that instances of ``/invocations`` omit. Default: they must have all columns.

    Example:
        >>> app = Application(load_directory(Path("/opt/ml/model")))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: ServedModel,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        name: str = "model",
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.perf_counter,
        inline_seconds: float = INLINE_SECONDS,
        lookups: FeatureLookups | None = None,
    ) -> None:
        self._model = model
        self._limit = max_body_bytes
        self._name = name
        self._recorder = recorder
        self._version = model.sha256[:12]
        self._reader = Reader(model.signature)
        self._event_id = event_ids()
        self._metrics = server_metrics.Metrics({"name": name, "sha256": model.sha256})
        self._model_header = (b"x-model-version", self._version.encode())
        # SageMaker drops other headers: callers of InvokeEndpoint only get the custom attributes
        self._attributes = b"model=" + self._version.encode()
        self._clock = clock
        self._inline_seconds = 0.0 if lookups is not None else inline_seconds  # lookups block, so they need a thread
        self._lookups = lookups
        # threads in which calls wait for a batch or a worker process
        self._threads = ThreadPoolExecutor(_THREADS, "call") if self._inline_seconds < INLINE_SECONDS else None
        began = self._clock()
        model.predict(np.zeros((1, len(model.signature.inputs)), dtype=np.float32))
        self._seconds = self._clock() - began
        self._routes = self._table()

    def _table(self) -> Mapping[str, _Route]:
        protocol = open_inference
        empty = _Answer(200, b"", "text/plain; charset=utf-8")
        server = _json(200, protocol.server_metadata(self._version))
        manifest = self._model.manifest
        platform = protocol.PLATFORM if manifest is None else manifest.flavor
        model = _json(200, protocol.model_metadata(self._name, self._version, self._model.signature, platform))
        routes = {
            "/ping": _Route("ping", _READ, page=lambda: empty),
            "/invocations": _Route("invocations", _WRITE, infer=self._invocations),
            "/metrics": _Route("metrics", _READ, page=self._page),
            "/v2": _Route("v2", _READ, page=lambda: server),
            "/v2/health/live": _Route("v2/health", _READ, page=lambda: empty),
            "/v2/health/ready": _Route("v2/health", _READ, page=lambda: empty),
        }
        for path in (f"/v2/models/{self._name}", f"/v2/models/{self._name}/versions/{self._version}"):
            routes[path] = _Route("v2/models", _READ, page=lambda: model)
            routes[f"{path}/ready"] = _Route("v2/health", _READ, page=lambda: empty)
            routes[f"{path}/infer"] = _Route("v2/infer", _WRITE, infer=self._v2)
        return routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only http is served, got {scope['type']}; start it with lifespan and websockets off")
        began = time.perf_counter()
        method, path = scope["method"], scope["path"]
        route = self._routes.get(path)
        found: _Answer | None
        if route is None or method not in route.methods:
            found = self._refused(method, path, route)
        elif route.page is not None:
            found = route.page()
        else:
            found = await self._infer(route, scope, receive)
        if found is None:
            return  # the client has disconnected
        self._metrics.answered(
            "other" if route is None else route.name, found.status, time.perf_counter() - began, rows=found.rows
        )
        headers = [
            (b"content-type", found.content_type.encode()),
            (b"content-length", b"%d" % len(found.content)),
            *found.headers,
        ]
        await send({"type": "http.response.start", "status": found.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else found.content})

    async def _infer(self, route: _Route, scope: Scope, receive: Receive) -> _Answer | None:
        at = time.time()
        assert route.infer is not None  # noqa: S101 - a route has a page or this
        is_captured = self._recorder is not None and self._recorder.wanted()
        try:
            head = _head(scope["headers"])
            body = await _read(receive, head.length, self._limit)
            if body is None:
                return None
            if len(body) > _INLINE_BYTES:
                inference = await self._in_thread(route.infer, head, body, is_captured)
            elif self._seconds > self._inline_seconds:
                inference = await self._in_thread(self._timed, route.infer, head, body, is_captured)
            else:
                inference = self._timed(route.infer, head, body, is_captured)
        except PayloadError as error:
            return _failure(error.status, "the request cannot be answered", error.problems)
        except NonFiniteError as error:
            _log.error("%s", error)
            return _failure(500, str(error))
        except LookupUnavailableError as error:
            return _failure(503, str(error))
        except SlowModelError as error:
            _log.error("%s", error)
            return _failure(504, str(error))
        except Exception:
            # the caller must not get a traceback
            _log.exception("internal error while serving %s", scope["path"])
            return _failure(500, f"internal error while serving {scope['path']}")
        event_id = self._event_id()
        if self._recorder is not None and inference.request is not None and inference.response is not None:
            call = Call(at, event_id, inference.inference_id, *inference.request, *inference.response)
            is_short = len(call.request) + len(call.response) <= _INLINE_BYTES
            self._recorder.record(at, line(call) if is_short else await asyncio.to_thread(line, call))
        identity = event_id if inference.inference_id is None else inference.inference_id
        headers = (
            self._model_header,
            (b"x-inference-id", identity.encode()),
            *self._feature_headers(inference.missing),
        )
        return _Answer(200, inference.content, inference.content_type, inference.rows, headers)

    def _feature_headers(self, missing: int | None) -> tuple[tuple[bytes, bytes], ...]:
        if missing is None:
            return ((_ATTRIBUTES, self._attributes),)
        count = b"%d" % missing
        return ((_ATTRIBUTES, self._attributes + b"; features-missing=" + count), (_MISSING, count))

    async def _in_thread(self, function: Callable[..., _Inference], *arguments: Any) -> _Inference:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _timed(self, infer: _Infer, head: _Head, body: bytes, is_captured: bool) -> _Inference:
        """Run an inference of a short body and update the average duration."""
        began = self._clock()
        inference = infer(head, body, is_captured)
        self._seconds += _WEIGHT * (self._clock() - began - self._seconds)
        return inference

    def _invocations(self, head: _Head, body: bytes, is_captured: bool) -> _Inference:
        accepted(head.accept)
        rows, given = self._reader.instances(head.content_type, body)
        missing = None
        is_filled = self._lookups is not None and given == JSON
        if self._lookups is not None and is_filled:
            found = self._lookups.fill(rows)
            rows, missing = found.instances, found.missing
        predictions = _predict(self._model, self._reader.rows(rows, given))
        content, kind = encode(predictions, head.accept)
        request = response = None
        if is_captured:
            # capture the filled rows, which the model received and the monitors evaluate
            request_body = orjson.dumps({"instances": rows}) if is_filled else body
            request, response = (request_body, head.content_type or JSON), (content, kind)
        return _Inference(content, kind, len(predictions), head.inference_id, request, response, missing)

    def _v2(self, head: _Head, body: bytes, is_captured: bool) -> _Inference:
        kind = (head.content_type or JSON).partition(";")[0].strip().lower()
        if kind != JSON:
            raise PayloadError(415, [f"content type must be {JSON}, got {kind[:60]!r}"])
        requested = open_inference.read(body, self._model.signature)
        predictions = _predict(self._model, self._reader.rows(requested.rows))
        inference_id = _identity(requested.id) if head.inference_id is None else head.inference_id
        identity = requested.id if requested.id is not None else inference_id or self._event_id()
        output = self._model.signature.output
        content = open_inference.write(self._name, self._version, identity, output, predictions)
        request = response = None
        if is_captured:
            request, response = (open_inference.as_instances(requested.rows), JSON), encode(predictions, JSON)
        return _Inference(content, JSON, len(predictions), inference_id, request, response)

    def _page(self) -> _Answer:
        gauges = {**server_metrics.process(), **({} if self._recorder is None else self._recorder.gauges())}
        return _Answer(200, self._metrics.render(gauges).encode(), server_metrics.CONTENT_TYPE)

    def _refused(self, method: str, path: str, route: _Route | None) -> _Answer:
        message = f"{method} {path[:200]} is not served; use {_ROUTES % self._name}"
        if route is None:
            return _failure(404, message)
        return _failure(405, message)._replace(headers=((b"allow", ", ".join(route.methods).encode()),))


def _predict(model: ServedModel, rows: Matrix) -> Matrix:
    predictions = model.predict(rows)
    finite = np.isfinite(predictions)
    if is_all(finite):
        return predictions
    broken = np.flatnonzero(~finite.reshape(len(predictions), -1).all(axis=1))
    shown = ", ".join(map(str, broken[:MAX_PROBLEMS])) + (", ..." if len(broken) > MAX_PROBLEMS else "")
    raise NonFiniteError(
        f"the model gave a non-finite prediction for {len(broken)} of {len(predictions)} rows: {shown}"
    )


def _head(headers: Sequence[tuple[bytes, bytes]]) -> _Head:
    content_type = accept = inference_id = None
    length = 0
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"accept":
            accept = value.decode("latin-1")
        elif name == b"content-length":
            length = int(value) if value.isdigit() else 0
        elif name == _INFERENCE:
            inference_id = _identity(value.decode("latin-1"))
    return _Head(content_type, accept, length, inference_id)


def _identity(text: str | None) -> str | None:
    if text is not None and not (0 < len(text) <= _MAX_INFERENCE and text.isascii() and text.isprintable()):
        problem = f"an inference id must be 1 to {_MAX_INFERENCE} printable ASCII characters, got {text[:80]!r}"
        raise PayloadError(400, [problem])
    return text


async def _read(receive: Receive, length: int, limit: int) -> bytes | None:
    problem = f"the body must be at most {limit} bytes"
    if length > limit:
        raise PayloadError(413, [f"{problem}, got {length}"])
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise PayloadError(413, [problem])
        parts.append(part)
        if not message.get("more_body", False):
            return part if len(parts) == 1 else b"".join(parts)


def _json(status: int, document: Mapping[str, Any]) -> _Answer:
    return _Answer(status, json.dumps(document).encode(), JSON)


def _failure(status: int, error: str, problems: tuple[str, ...] = ()) -> _Answer:
    return _json(status, {"error": error, **({"problems": problems} if problems else {})})


def refusal(headers: Sequence[tuple[bytes, bytes]], hosts: Collection[str]) -> str | None:
    """Return the reason for refusing a request, or ``None`` if it is allowed.

    Example:
        >>> refusal([(b"host", b"127.0.0.1:8080"), (b"origin", b"https://evil.example")], ["127.0.0.1:8080"])
        "a page of origin 'https://evil.example' may not use this server"
    """
    found = {name: value.decode("latin-1") for name, value in headers}
    host, origin, site = found.get(b"host", ""), found.get(b"origin"), found.get(b"sec-fetch-site", "none")
    if host.lower() not in hosts:
        return f"Host {host[:200]!r} is not this server's; use {' or '.join(sorted(hosts))}"
    if origin is not None and origin not in {f"http://{name}" for name in hosts}:
        return f"a page of origin {origin[:200]!r} may not use this server"
    return None if site in _OWN_SITES else f"a page of another site ({site[:200]}) may not use this server"


def only_from(application: AsgiApplication, hosts: Collection[str]) -> AsgiApplication:
    """Wrap an application so that requests with other host names or from pages of other sites get status 403.

    For a developer's machine, where local programs may call the server and pages of other sites may not. Any page in a browser may
    send simple requests to a local port, and a page whose owner resolves its name to 127.0.0.1 (DNS rebinding) may read the
    responses. Browsers reveal both in ``Origin``, ``Sec-Fetch-Site`` and ``Host``. Behind a load balancer and inside SageMaker,
    browsers cannot reach the server and callers choose the host name, so nothing is checked there.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        message = refusal(scope["headers"], hosts)
        if message is None:
            await application(scope, receive, send)
            return
        content = json.dumps({"error": message}).encode()
        sent = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 403, "headers": sent})
        await send({"type": "http.response.body", "body": content})

    return serve
