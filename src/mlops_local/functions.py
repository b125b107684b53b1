"""Lambda functions fail with the name of their exception's class, as on AWS, so that Catch and Retry match.

Source: https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
"""

import re
from typing import Any

from ministack.services import lambda_svc

from mlops_local import compat

compat.expect("ministack.services.lambda_svc", _execute_function_warm="(func, event, request_id)")

_CLASS = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)")


def error_type(log: str, message: str) -> str | None:
    r"""Return the class of the exception that a Python traceback at the end of a log reports.

    Args:
        log: What the function wrote, then the traceback.
        message: The exception's message.

    Returns:
        ``None`` when the log does not end with such a traceback.

    Example:
        >>> error_type("Traceback (most recent call last):\n  ...\nbotocore.exceptions.ClientError: no", "no")
        'ClientError'
    """
    if "Traceback (most recent call last):" not in log:
        return None
    last = log.rstrip().removesuffix(message.rstrip()).rstrip(": ").rpartition("\n")[2]
    found = _CLASS.fullmatch(last)
    return found[1] if found else None


def install() -> None:
    """Name errors by their class."""
    execute = lambda_svc._execute_function_warm

    def execute_and_name(func: Any, event: Any, request_id: str) -> dict[str, Any]:
        result: dict[str, Any] = execute(func, event, request_id)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            body["errorType"] = error_type(result.get("log", ""), body.get("errorMessage", "")) or body["errorType"]
        return result

    lambda_svc._execute_function_warm = execute_and_name
