"""CloudFormation's errors for shared values: missing parameters, and exports in use.

MiniStack rejects the deletion of an exporting stack in the request. CloudFormation accepts the request, and leaves the stack
unchanged, with the reason in an event.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import handlers, stacks

from mlops_local import compat

compat.expect("ministack.services.cloudformation", _stacks=object)
compat.expect(
    "ministack.services.cloudformation.handlers",
    _ACTION_HANDLERS=dict,
    _error="(code, message, status=400)",
    _imported_export_names="(stack, stack_name)",
    _p="(params, key, default='')",
    _resolve_stack="(stack_name)",
    _xml="(status, root_tag, inner)",
)
compat.expect(
    "ministack.services.cloudformation.stacks",
    _add_event="(stack_id, stack_name, logical_id, resource_type, status, reason='', physical_id='', detailed_status='')",
)

_Handler = Callable[[dict[str, Any]], Any]
_IN_USE = re.compile(r"Export (\S+) is imported by stack")
_MISSING = re.compile(r"Parameter '[^']+' failed to resolve: SSM parameter '([^']+)' does not exist")


def install() -> None:
    """Wrap the operations; installed after modules that reject operations altogether."""
    actions = handlers._ACTION_HANDLERS
    actions["DeleteStack"] = _cancelling(actions["DeleteStack"])
    actions["DescribeStacks"] = _naming(actions["DescribeStacks"])
    for action in ("CreateChangeSet", "CreateStack", "UpdateStack"):
        actions[action] = _unable(actions[action])


def _cancelling(handler: _Handler) -> _Handler:
    # claim: cloudformation-keeps-a-stack-whose-export-is-imported
    # claim: cloudformation-keeps-a-stack-by-the-resolved-names-of-imports
    def handled(params: dict[str, Any]) -> Any:
        answer = handler(params)
        found = _IN_USE.search(answer[2].decode()) if answer[0] == 400 else None
        stack = handlers._resolve_stack(handlers._p(params, "StackName"))
        if found is None or not stack:
            return answer
        users = sorted(
            name
            for name, other in cloudformation._stacks.items()
            if other is not stack
            and other["StackStatus"] != "DELETE_COMPLETE"
            and found[1] in handlers._imported_export_names(other, name)
        )
        reason = f"Export {found[1]} cannot be deleted as it is in use by {' and '.join(users)}"
        stack["StackStatusReason"] = reason
        name, stack_id = stack["StackName"], stack["StackId"]
        stacks._add_event(stack_id, name, name, "AWS::CloudFormation::Stack", stack["StackStatus"], reason, stack_id)
        return handlers._xml(200, "DeleteStackResponse", "")

    return handled


def _naming(handler: _Handler) -> _Handler:
    # claim: cloudformation-shows-the-names-of-values-that-it-reads
    def handled(params: dict[str, Any]) -> Any:
        for stack in cloudformation._stacks.values():
            resolved = stack.get("_resolved_params") or {}
            for each in stack.get("Parameters") or ():
                found = resolved.get(each["ParameterKey"])
                if isinstance(found, dict) and found.get("SsmName"):
                    each["ParameterValue"] = found["SsmName"]
        return handler(params)

    return handled


def _unable(handler: _Handler) -> _Handler:
    # claim: cloudformation-starts-nothing-without-its-values
    def handled(params: dict[str, Any]) -> Any:
        answer = handler(params)
        found = _MISSING.search(unescape(answer[2].decode())) if answer[0] == 400 else None
        if found is None:
            return answer
        message = f"Unable to fetch parameters [{found[1]}] from parameter store for this account."
        return handlers._error("ValidationError", message)

    return handled
