"""``inference.py`` for AWS images with ``sagemaker-inference``: an invalid request gets a 4xx without a stack trace."""

import json
import sys
from typing import Any

import joblib
from request_rows import RequestError, rows_of
from sagemaker_inference.transformer import Transformer


def model_fn(folder: str) -> Any:
    """Load the model."""
    return joblib.load(f"{folder}/model.joblib")


def transform_fn(model: Any, body: Any, content_type: str, _accept: str, context: Any) -> tuple[str, str]:
    """Predict the rows of a request, and set the status of an invalid one."""
    try:
        rows = rows_of(body.encode() if isinstance(body, str) else bytes(body), content_type)
    except RequestError as error:
        context.set_response_status(code=error.status, phrase="Refused")
        return json.dumps({"error": str(error)}), "application/json"
    return json.dumps({"predictions": model.predict(rows).tolist()}), "application/json"


def _without_trace(context: Any, _error: Exception, _trace: str) -> list[str]:
    """Replace the toolkit's error response, which has the stack trace; it decodes bodies as UTF-8 before ``transform_fn``."""
    is_request = isinstance(sys.exc_info()[1], UnicodeDecodeError)
    context.set_response_status(code=400 if is_request else 500, phrase="Failed")
    return [json.dumps({"error": "the body must be UTF-8" if is_request else "the model failed"})]


Transformer.handle_error = staticmethod(_without_trace)
