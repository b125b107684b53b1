"""MLflow's scoring server, with a 400 for requests that are nested too deeply."""

from fastapi import Request
from fastapi.responses import JSONResponse
from mlflow.pyfunc.scoring_server.app import app


@app.exception_handler(RecursionError)
def refuse_nesting(_request: Request, _error: RecursionError) -> JSONResponse:
    """Report it as the caller's error."""
    return JSONResponse({"error": "the request is nested too deep"}, status_code=400)
