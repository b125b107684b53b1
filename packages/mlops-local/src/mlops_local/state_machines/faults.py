"""Injected AWS faults in state machine tasks and stack resources: ``POST /_mlops/faults``.

A task's fault replaces the call's response, or occurs after the call has done its work, like a throttled, rejected or lost call in
AWS; Retry and Catch behave as in AWS. A resource's fault replaces its creation, update or deletion (``cloudformation:create``,
``:update``, ``:delete``); CloudFormation then rolls back, or continues deleting, as in AWS.

See: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html,
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html
"""

import contextvars
import json
import threading
from dataclasses import asdict, dataclass
from typing import Any

from ministack.services import stepfunctions as sfn
from ministack.services.cloudformation import stacks

from mlops_local.iam import machine_roles
from mlops_local.routes import ROUTES
from mlops_local.saved_state import kept_stores
from mlops_local.state_machines.executions import wait

_STACKS = "cloudformation:"

_STATE: contextvars.ContextVar[str] = contextvars.ContextVar("mlops_state", default="")
_LOCK = threading.Lock()
_FAULTS: list["Fault"] = kept_stores.keep(__name__, "_FAULTS", [])


@kept_stores.record
@dataclass(slots=True)
class Fault:
    """A fault of some calls of one integration."""

    # such as `sagemaker:createModel` or `lambda:invoke`, without `aws-sdk:`; for resources of stacks
    # `cloudformation:create`, `cloudformation:update` or `cloudformation:delete`
    integration: str
    # string that the call's arguments must contain as JSON; for resources: `stack`, `logical_id` and `type`. Default:
    # any arguments
    match: str = ""
    state: str = ""  # name of the task to which the fault is limited. Default: any task
    error: str | None = None  # error name for the state, such as `States.Timeout`; `stop` ends the whole execution
    cause: str = ""  # cause of the error
    first: int = 1  # number of the first matching call with the fault, counted from 1
    count: int = 1  # number of consecutive calls with the fault
    after: bool = False  # whether the call does its work first; not for resources, whose handlers report their result
    seconds: float = 0.0  # embedded seconds that the fault takes. Default: 0
    calls: int = 0  # number of matching calls so far
    met: int = 0  # number of calls with the fault so far

    def __post_init__(self) -> None:
        """Reject an impossible combination."""
        if self.after and self.integration.startswith(_STACKS):
            raise ValueError(f"{self.integration} cannot fail after its work; leave `after` out")


def install() -> None:
    """Intercept every task's call; installed last, so that a fault precedes the permission check."""
    # claim: faults-are-retried-by-name
    invoke, execute = sfn._invoke_resource, sfn._execute_task

    def execute_in_state(state: Any, raw_input: Any, execution: Any, ctx: Any) -> Any:
        token = _STATE.set(ctx["State"]["Name"])
        try:
            return execute(state, raw_input, execution, ctx)
        finally:
            _STATE.reset(token)

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
            sfn._stop_execution({"executionArn": machine_roles.running(), "cause": "a fault stopped it"})
        raise sfn._ExecutionError(fault.error, fault.cause)

    sfn._invoke_resource, sfn._execute_task = invoke_with_faults, execute_in_state
    _install_in_stacks()
    ROUTES["/_mlops/faults"] = control


def control(method: str, body: bytes) -> tuple[int, object]:
    """Serve ``/_mlops/faults``: POST a list of faults, which replaces the previous list; GET the list with its counts."""
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


def _install_in_stacks() -> None:
    """Wrap create, update and delete of each handler."""
    provision, update, delete = stacks._provision_resource, stacks._update_resource, stacks._delete_resource

    def provisioned(resource_type: str, logical_id: str, props: Any, stack_name: str) -> Any:
        _fail("create", stack_name, logical_id, resource_type)
        return provision(resource_type, logical_id, props, stack_name)

    def updated(resource_type: str, physical_id: str, old_props: Any, new_props: Any, *rest: Any) -> Any:
        if old_props != new_props:  # AWS does not call handlers of unchanged resources either
            _fail("update", rest[0], rest[1] if len(rest) > 1 else physical_id, resource_type)
        return update(resource_type, physical_id, old_props, new_props, *rest)

    def deleted(
        resource_type: str, physical_id: str, props: Any, stack_name: str | None = None, logical_id: str | None = None
    ) -> None:
        _fail("delete", stack_name, logical_id, resource_type)
        delete(resource_type, physical_id, props, stack_name, logical_id)

    stacks._provision_resource, stacks._update_resource, stacks._delete_resource = provisioned, updated, deleted


def _fail(operation: str, stack: str | None, logical_id: str | None, resource_type: str) -> None:
    """Fail a resource's operation, after the fault's seconds."""
    fault = _matching(f"{_STACKS}{operation}", {"stack": stack, "logical_id": logical_id, "type": resource_type})
    if fault is None:
        return
    if fault.seconds:
        wait(fault.seconds)
    if fault.error is not None:
        raise ValueError(f'Resource handler returned message: "{fault.cause}" (HandlerErrorCode: {fault.error})')


def _next(resource: str, data: Any) -> Fault | None:
    return _matching(resource.partition(":::")[2].removeprefix("aws-sdk:"), data)


def _matching(integration: str, data: Any) -> Fault | None:
    with _LOCK:
        for fault in _FAULTS:
            is_state = fault.state in ("", _STATE.get())
            if fault.integration == integration and is_state and (not fault.match or fault.match in json.dumps(data)):
                fault.calls += 1
                if fault.first <= fault.calls < fault.first + fault.count:
                    fault.met += 1
                    return fault
    return None
