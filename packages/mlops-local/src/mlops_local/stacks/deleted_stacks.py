"""Deleted stacks whose name is used again: CloudFormation returns them by id for 90 days, MiniStack overwrites them.

MiniStack stores a stack by its name, so the next stack of that name replaces the deleted one, whose events can then no longer be
read. Here the deleted stack is stored under its id first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import handlers

from mlops_local import compat

compat.expect("ministack.services.cloudformation", _stacks=object)
compat.expect(
    "ministack.services.cloudformation.handlers",
    _ACTION_HANDLERS=dict,
    _p="(params, key, default='')",
    _resolve_stack="(stack_name)",
)

_Handler = Callable[[dict[str, Any]], Any]


def install() -> None:
    """Preserve the deleted stack that CreateStack or CreateChangeSet would overwrite."""
    for action in ("CreateStack", "CreateChangeSet"):
        handlers._ACTION_HANDLERS[action] = _keeping(handlers._ACTION_HANDLERS[action])


def _keeping(create: _Handler) -> _Handler:
    # claim: cloudformation-lists-deleted-stacks
    def created(params: dict[str, Any]) -> Any:
        name = handlers._p(params, "StackName")
        before = cloudformation._stacks.get(name)
        answer = create(params)
        if before and before["StackStatus"] == "DELETE_COMPLETE" and cloudformation._stacks.get(name) is not before:
            cloudformation._stacks[before["StackId"]] = before
        return answer

    return created
