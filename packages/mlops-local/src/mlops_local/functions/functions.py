"""Lambda functions: error names, credentials, and waiting for all invocations that a clock jump caused.

The error of a failed function is the class of its exception, as in AWS, so that Catch and Retry match:
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
"""

import logging
import re
import time
from collections.abc import Mapping
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc, sqs, sts

from mlops_local import clock
from mlops_local.iam.signatures import session_keys

LOGGER = logging.getLogger(__name__)

# real seconds: longest wait of a jump at one due time, polling interval, and how long no invocation may start
_SETTLE_LIMIT = 20.0
_LOOK = 0.01
_QUIET = 0.05

_CLASS = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)")


# claim: function-errors-have-a-class
def error_type(log: str, message: str) -> str | None:
    r"""Return the exception class in a Python traceback at the end of a log.

    Returns:
        ``None`` if the log does not end with a traceback.

    Example:
        >>> error_type("Traceback (most recent call last):\n  ...\nbotocore.exceptions.ClientError: no", "no")
        'ClientError'
    """
    if "Traceback (most recent call last):" not in log:
        return None
    last = log.rstrip().removesuffix(message.rstrip()).rstrip(": ").rpartition("\n")[2]
    found = _CLASS.fullmatch(last)
    return found[1] if found else None


def busy() -> bool:
    """Return whether a function runs, or a message is visible in a queue that is an event source."""
    if lambda_svc.executions_in_flight()[0] or lambda_svc._esm_inflight:
        return True
    fed = {esm.get("EventSourceArn") for esm in list(lambda_svc._esms._data.values()) if esm.get("Enabled", True)}
    real = time.time()
    return any(
        message.get("visible_at", real) <= real
        for queue in list(sqs._queues._data.values())
        if queue["attributes"].get("QueueArn") in fed
        for message in list(queue["messages"])
    )


def settle() -> None:
    """Block until no function has run for a short time, up to a limit."""
    deadline = time.monotonic() + _SETTLE_LIMIT
    quiet = time.monotonic() + _QUIET
    while time.monotonic() < quiet:
        time.sleep(_LOOK)
        if busy():
            quiet = time.monotonic() + _QUIET
        if time.monotonic() > deadline:
            LOGGER.warning("functions still run after %.0f s at %s; the clock continues", _SETTLE_LIMIT, clock.iso())
            return


def install() -> None:
    """Set error names, and let clock jumps wait for functions."""
    clock.add_settler(settle)
    execute = lambda_svc._execute_function_warm

    def execute_and_name(func: Any, event: Any, request_id: str) -> dict[str, Any]:
        result: dict[str, Any] = execute(func, event, request_id)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            body["errorType"] = error_type(result.get("log", ""), body.get("errorMessage", "")) or body["errorType"]
        return result

    lambda_svc._execute_function_warm = execute_and_name
    lambda_svc.execution_credentials = lambda_runtime.execution_credentials = execution_credentials


def execution_credentials(config: Mapping[str, Any]) -> dict[str, str]:
    """Return environment variables with credentials of a session of the function's role.

    MiniStack derives keys from names alone, so that a function could compute the keys of any other.
    """
    function, role = config["FunctionArn"], config.get("Role", "")
    account, role_name = function.split(":")[4], role.rpartition("/")[2]
    key, secret, token = session_keys(f"{function}|{role}")
    session = config.get("FunctionName", role_name)[:64]
    record = {
        "Arn": f"arn:aws:sts::{account}:assumed-role/{role_name}/{session}", "UserId": f"{role_name}:{session}",
        "SecretAccessKey": secret, "SessionToken": token,
    }  # fmt: skip
    sts.register_session(key, record)
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}
