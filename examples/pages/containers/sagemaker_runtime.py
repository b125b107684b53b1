"""An MLServer runtime that adds SageMaker's two paths."""

from mlserver.handlers import custom_handler
from mlserver_sklearn import SKLearnModel
from request_rows import RequestError, rows_of
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class SageMakerModel(SKLearnModel):
    """The ``implementation`` in ``model-settings.json``; ``parallel_workers`` must be 0."""

    @custom_handler(rest_path="/ping", rest_method="GET")
    def ping(self) -> Response:
        """Return 200: MLServer adds the path once the model is loaded."""
        return Response()

    @custom_handler(rest_path="/invocations")
    async def invocations(self, request: Request) -> Response:
        """Predict the rows of a request."""
        try:
            rows = rows_of(await request.body(), request.headers.get("content-type"))
        except RequestError as error:
            return JSONResponse({"error": str(error)}, status_code=error.status)
        return JSONResponse({"predictions": self._model.predict(rows).tolist()})
