"""DescribeStackResources by a resource's physical id, which returns its stack; MiniStack requires the stack's name."""

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
    _error="(code, message, status=400)",
    _p="(params, key, default='')",
)

_Handler = Callable[[dict[str, Any]], Any]


def install() -> None:
    """Support requests by physical id."""
    action = "DescribeStackResources"
    handlers._ACTION_HANDLERS[action] = _by_resource(handlers._ACTION_HANDLERS[action])


def _by_resource(describe: _Handler) -> _Handler:
    # claim: cloudformation-finds-a-stack-by-its-resource
    def described(params: dict[str, Any]) -> Any:
        physical = handlers._p(params, "PhysicalResourceId")
        if handlers._p(params, "StackName") or not physical:
            return describe(params)
        for stack in list(cloudformation._stacks.values()):
            resources = stack.get("_resources", {}).values()
            held = [one for one in resources if one.get("PhysicalResourceId") == physical]
            if any(one.get("ResourceStatus") != "DELETE_COMPLETE" for one in held):
                return describe({**params, "StackName": stack["StackId"]})
        return handlers._error("ValidationError", f"Stack for {physical} does not exist")

    return described
