"""Faults of AWS put into the tasks of state machines, so that what a machine promises can be tried: ``POST /_mlops/faults``.

A fault is met by the task itself, in place of the call's answer or after the call has done its work, as a throttled, refused or
lost call is on AWS; Retry and Catch then do what they do there.

See: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

import json
import threading
from dataclasses import asdict, dataclass
from typing import Any

from ministack.services import stepfunctions as sfn

from mlops_local import compat, iam_machines
from mlops_local.routes import ROUTES
from mlops_local.stepfunctions import wait

compat.expect(
    "ministack.services.stepfunctions",
    _invoke_resource="(resource, input_data)",
    _stop_execution="(data)",
    _ExecutionError=type,
)

_LOCK = threading.Lock()
_FAULTS: list["Fault"] = []


@dataclass(slots=True)
class Fault:
    """What some calls of one integration meet.

    Args:
        integration: Such as ``sagemaker:createModel``, ``lambda:invoke``, without ``aws-sdk:``.
        match: Text that the call's arguments, as JSON, must hold. Default: any arguments.
        error: Name of the error that the state sees, such as ``States.Timeout``; ``stop`` ends the whole execution.
        cause: The error's cause. Default: none.
        first: The first call that meets it, counted from 1. Default: the first.
        count: Calls in a row that meet it. Default: 1.
        after: Whether the call has done its work before. Default: no.
        seconds: Embedded seconds that it takes. Default: none.
        calls: Calls that matched so far.
        met: How many of them met the fault.
    """

    integration: str
    match: str = ""
    error: str | None = None
    cause: str = ""
    first: int = 1
    count: int = 1
    after: bool = False
    seconds: float = 0.0
    calls: int = 0
    met: int = 0


def install() -> None:
    """Stand in front of every task's call. Installed last: a fault is met before anybody asks for permission."""
    # claim: faults-are-retried-by-name
    invoke = sfn._invoke_resource

    def invoke_with_faults(resource: str, data: Any) -> Any:
        # claim: faults-are-retried-by-name
        fault = _next(resource, data)
        if fault is None:
            return invoke(resource, data)
        answer = invoke(resource, data) if fault.after or fault.error is None else None
        if fault.seconds:
            wait(fault.seconds)
        if fault.error is None:
            return answer
        if fault.error == "stop":
            sfn._stop_execution({"executionArn": iam_machines.running(), "cause": "a fault stopped it"})
        raise sfn._ExecutionError(fault.error, fault.cause)

    sfn._invoke_resource = invoke_with_faults
    ROUTES["/_mlops/faults"] = control


def control(method: str, body: bytes) -> tuple[int, object]:
    """Answer ``/_mlops/faults``: POST of a list of faults in place of those before, GET of what they have met."""
    if method == "POST":
        try:
            faults = [Fault(**entry) for entry in json.loads(body)]
        except (ValueError, TypeError) as error:
            return 400, {"message": f"expected a list of faults: {type(error).__name__}: {error}"}
        with _LOCK:
            _FAULTS[:] = faults
    elif method != "GET":
        return 405, {"message": f"POST a list of faults, or GET it, got {method}"}
    with _LOCK:
        return 200, [asdict(fault) for fault in _FAULTS]


def _next(resource: str, data: Any) -> Fault | None:
    integration = resource.partition(":::")[2].removeprefix("aws-sdk:")
    with _LOCK:
        for fault in _FAULTS:
            if fault.integration == integration and (not fault.match or fault.match in json.dumps(data)):
                fault.calls += 1
                if fault.first <= fault.calls < fault.first + fault.count:
                    fault.met += 1
                    return fault
    return None
