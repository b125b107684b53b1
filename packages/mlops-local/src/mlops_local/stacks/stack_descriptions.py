"""Descriptions that MiniStack lacks: deleted stacks by id, stacks by a resource's physical id, parameters by name.

A deleted stack whose name is used again is returned by its id for 90 days. MiniStack stores a stack by its name, so the next
stack of that name replaces the deleted one, whose events can then no longer be read; here the deleted stack is stored under its
id first. DescribeStackResources by a resource's physical id returns its stack; MiniStack requires the stack's name.
A parameter that is read from Parameter Store is shown by its name there; MiniStack shows the value.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import handlers

_Handler = Callable[[dict[str, Any]], Any]


def install() -> None:
    """Preserve deleted stacks that CreateStack or CreateChangeSet would overwrite, and correct the descriptions."""
    actions = handlers._ACTION_HANDLERS
    for action in ("CreateStack", "CreateChangeSet"):
        actions[action] = partial(_created, actions[action])
    actions["DescribeStacks"] = partial(_described_stacks, actions["DescribeStacks"])
    actions["DescribeStackResources"] = partial(_described_resources, actions["DescribeStackResources"])


# claim: cloudformation-lists-deleted-stacks
def _created(create: _Handler, params: dict[str, Any]) -> Any:
    name = handlers._p(params, "StackName")
    before = cloudformation._stacks.get(name)
    answer = create(params)
    if before and before["StackStatus"] == "DELETE_COMPLETE" and cloudformation._stacks.get(name) is not before:
        cloudformation._stacks[before["StackId"]] = before
    return answer


# claim: cloudformation-finds-a-stack-by-its-resource
def _described_resources(describe: _Handler, params: dict[str, Any]) -> Any:
    physical = handlers._p(params, "PhysicalResourceId")
    if handlers._p(params, "StackName") or not physical:
        return describe(params)
    for stack in list(cloudformation._stacks.values()):
        resources = stack.get("_resources", {}).values()
        held = [one for one in resources if one.get("PhysicalResourceId") == physical]
        if any(one.get("ResourceStatus") != "DELETE_COMPLETE" for one in held):
            return describe({**params, "StackName": stack["StackId"]})
    return handlers._error("ValidationError", f"Stack for {physical} does not exist")


# claim: cloudformation-shows-the-names-of-values-that-it-reads
def _described_stacks(handler: _Handler, params: dict[str, Any]) -> Any:
    for stack in cloudformation._stacks.values():
        resolved = stack.get("_resolved_params") or {}
        for each in stack.get("Parameters") or ():
            found = resolved.get(each["ParameterKey"])
            if isinstance(found, dict) and found.get("SsmName"):
                each["ParameterValue"] = found["SsmName"]
    return handler(params)
