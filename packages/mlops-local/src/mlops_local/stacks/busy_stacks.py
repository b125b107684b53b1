"""Stacks with an operation in progress: CloudFormation rejects a second one, MiniStack would run both concurrently.

MiniStack only rejects ``UpdateStack``; ``cdk deploy`` and ``mlops deploy`` use change sets. Two concurrent deployments would mix
their changes in one stack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import changesets, handlers

from mlops_local import compat

compat.expect("ministack.services.cloudformation", _stacks=object)
compat.expect("ministack.services.cloudformation.changesets", _find_change_set="(cs_name, stack_name='')")
compat.expect(
    "ministack.services.cloudformation.handlers",
    _ACTION_HANDLERS=dict,
    _error="(code, message, status=400)",
    _p="(params, key, default='')",
    _resolve_stack="(stack_name)",
)

_Handler = Callable[[dict[str, Any]], Any]


def install() -> None:
    """Check the two operations that start a deployment by change set."""
    for action, stack_of in (("CreateChangeSet", _named), ("ExecuteChangeSet", _of_change_set)):
        handlers._ACTION_HANDLERS[action] = _refusing(handlers._ACTION_HANDLERS[action], stack_of)


def _refusing(handler: _Handler, stack_of: Callable[[dict[str, Any]], Any]) -> _Handler:
    # claim: cloudformation-refuses-a-second-operation
    def handled(params: dict[str, Any]) -> Any:
        stack = stack_of(params) or {}
        status = str(stack.get("StackStatus", ""))
        if (
            status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"
        ):  # the stack only waits for its change set
            message = f"Stack:{stack['StackId']} is in {status} state and can not be updated."
            return handlers._error("ValidationError", message)
        return handler(params)

    return handled


def _named(params: dict[str, Any]) -> Any:
    return handlers._resolve_stack(handlers._p(params, "StackName"))


def _of_change_set(params: dict[str, Any]) -> Any:
    _, found = changesets._find_change_set(handlers._p(params, "ChangeSetName"), handlers._p(params, "StackName"))
    return cloudformation._stacks.get(found["StackName"]) if found else None
