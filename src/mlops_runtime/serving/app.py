"""The HTTP adapter: ``GET /ping`` and ``POST /invocations``.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import json
import logging

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mlops_runtime.serving.model import Model
from mlops_runtime.serving.payload import MAX_PROBLEMS, PayloadError, accepted, encode, parse

# InvokeEndpoint refuses longer bodies (botocore, sagemaker-runtime, BodyBlob)
MAX_BODY_BYTES = 6_291_456
# a body that takes longer than about a millisecond is answered in a thread, so that /ping never waits for it
_INLINE_BYTES = 16_384

_log = logging.getLogger("mlops.serving")


class NonFiniteError(ArithmeticError):
    """The model gave NaN or infinity for a well-formed request."""


def answer(model: Model, content_type: str | None, accept: str | None, body: bytes) -> tuple[bytes, str]:
    """Return body and content type of the response to an invocation; no HTTP in here.

    Raises:
        PayloadError: If the request cannot be answered.
        NonFiniteError: If a prediction is NaN or infinite.
    """
    accepted(accept)
    predictions = model.predict(parse(content_type, body, model.signature))
    broken = np.flatnonzero(~np.isfinite(predictions))
    if len(broken):
        rows = ", ".join(map(str, broken[:MAX_PROBLEMS])) + (", ..." if len(broken) > MAX_PROBLEMS else "")
        raise NonFiniteError(
            f"the model gave a non-finite prediction for {len(broken)} of {len(predictions)} rows: {rows}"
        )
    return encode(predictions, accept)


def build(model: Model, *, max_body_bytes: int = MAX_BODY_BYTES) -> Starlette:
    """Return the server's ASGI application.

    Args:
        model: The loaded model; ``/ping`` answers 200 because it is loaded.
        max_body_bytes: Longer request bodies are refused with 413. Default: InvokeEndpoint's own limit.

    Example:
        >>> app = build(load_directory(Path("/opt/ml/model")))  # doctest: +SKIP
    """

    async def ping(_: Request) -> Response:
        return Response()

    async def invocations(request: Request) -> Response:
        try:
            body = await _read(request, max_body_bytes)
            headers = request.headers.get("content-type"), request.headers.get("accept")
            if len(body) <= _INLINE_BYTES:
                content, kind = answer(model, *headers, body)
            else:
                content, kind = await run_in_threadpool(answer, model, *headers, body)
        except PayloadError as error:
            return _failure(error.status, "the request cannot be answered", error.problems)
        except NonFiniteError as error:
            _log.error("%s", error)
            return _failure(500, str(error))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        return Response(content, media_type=kind)

    routes = [Route("/ping", ping), Route("/invocations", invocations, methods=["POST"])]
    return Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _unexpected})


async def _read(request: Request, limit: int) -> bytes:
    problem = f"the body must be at most {limit} bytes"
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise PayloadError(413, [f"{problem}, got {length}"])
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise PayloadError(413, [problem])
    return bytes(body)


def _failure(status: int, error: str, problems: tuple[str, ...] = ()) -> Response:
    document = {"error": error, **({"problems": problems} if problems else {})}
    return Response(json.dumps(document), status_code=status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _failure(status, f"{request.method} {request.url.path} is not served; use GET /ping or POST /invocations")


async def _unexpected(request: Request, _: Exception) -> Response:
    # the server logs the exception; a caller gets no trace of it
    return _failure(500, f"internal error while serving {request.url.path}")
