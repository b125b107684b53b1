"""A BentoML service that handles SageMaker's two paths in a mounted application."""

import bentoml
import joblib
from request_rows import RequestError, rows_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

MODEL = joblib.load("model.joblib")


async def ping(_request: Request) -> Response:
    """Return 200: the model was loaded with this module."""
    return Response()


async def invocations(request: Request) -> Response:
    """Predict the rows of a request."""
    try:
        rows = rows_of(await request.body(), request.headers.get("content-type"))
    except RequestError as error:
        return JSONResponse({"error": str(error)}, status_code=error.status)
    return JSONResponse({"predictions": MODEL.predict(rows).tolist()})


application = Starlette(routes=[Route("/ping", ping), Route("/invocations", invocations, methods=["POST"])])


@bentoml.service
@bentoml.asgi_app(application)
class Model:
    """Service started by ``bentoml serve``."""
