"""MLflow's scoring server, with an answer to a request that is nested too deep."""

from fastapi import Request
from fastapi.responses import JSONResponse
from mlflow.pyfunc.scoring_server.app import app


@app.exception_handler(RecursionError)
def refuse_nesting(_request: Request, _error: RecursionError) -> JSONResponse:
    """Say that it is the caller's error."""
    return JSONResponse({"error": "the request is nested too deep"}, status_code=400)
