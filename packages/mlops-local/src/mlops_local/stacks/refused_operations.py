"""Operations on stacks that CloudFormation rejects, and MiniStack accepts or rejects differently.

* A template that refers to undeclared names, before anything is created. MiniStack ignores them in the order of resources, and
  passes the name itself to the service.
* A second operation on a stack with one in progress. MiniStack only rejects ``UpdateStack``; ``cdk deploy`` and ``mlops deploy``
  use change sets, and two concurrent deployments would mix their changes in one stack.
* Missing shared values, and the deletion of exports in use. MiniStack rejects the deletion of an exporting stack in the request.
  CloudFormation accepts the request, and leaves the stack unchanged, with the reason in an event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from html import unescape
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import changesets, engine, handlers, stacks

_Handler = Callable[[dict[str, Any]], Any]

_IN_USE = re.compile(r"Export (\S+) is imported by stack")
_MISSING = re.compile(r"Parameter '[^']+' failed to resolve: SSM parameter '([^']+)' does not exist")


def install() -> None:
    """Check templates wherever MiniStack validates them, and wrap the operations; installed after failed deletions."""
    checked = partial(_validate_all, engine.validate_template_support)
    handlers.validate_template_support = checked
    changesets.validate_template_support = checked
    actions = handlers._ACTION_HANDLERS
    for action, stack_of in (("CreateChangeSet", _named_stack), ("ExecuteChangeSet", _of_change_set)):
        actions[action] = partial(_one_operation, actions[action], stack_of)
    actions["DeleteStack"] = partial(_deleted, actions["DeleteStack"])
    for action in ("CreateChangeSet", "CreateStack", "UpdateStack"):
        actions[action] = partial(_with_values, actions[action])


def check_references(template: Mapping[str, Any]) -> None:
    """Reject references to names that a template does not declare.

    Raises:
        ValueError: With CloudFormation's message, listing every missing name.

    Example:
        >>> check_references({"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "DependsOn": "Key"}}})
        Traceback (most recent call last):
        ...
        ValueError: Template format error: Unresolved resource dependencies [Key] in the Resources block of the template
    """
    # claim: cloudformation-refuses-what-is-not-declared
    resources = template.get("Resources") or {}
    declared = {*resources, *(template.get("Parameters") or {})}
    named = {
        "Resources": {name for resource in resources.values() for name in _referenced(resource)},
        "Outputs": {name for name, _ in engine._intrinsic_references(template.get("Outputs") or {})},
    }
    for block, names in named.items():
        missing = sorted(name for name in names - declared if not name.startswith("AWS::"))
        if missing:
            problem = f"Unresolved resource dependencies [{', '.join(missing)}] in the {block} block of the template"
            raise ValueError(f"Template format error: {problem}")


def _referenced(resource: Mapping[str, Any]) -> Iterator[str]:
    depends_on = resource.get("DependsOn", [])
    yield from [depends_on] if isinstance(depends_on, str) else depends_on
    for name, _ in engine._intrinsic_references(resource.get("Properties", {})):
        yield name


def _validate_all(validate: Callable[..., None], template: dict[str, Any], *more: Any, **named: Any) -> None:
    validate(template, *more, **named)
    check_references(template)


# claim: cloudformation-refuses-a-second-operation
def _one_operation(handler: _Handler, stack_of: Callable[[dict[str, Any]], Any], params: dict[str, Any]) -> Any:
    stack = stack_of(params) or {}
    status = str(stack.get("StackStatus", ""))
    if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":  # the stack only waits for its change set
        message = f"Stack:{stack['StackId']} is in {status} state and can not be updated."
        return handlers._error("ValidationError", message)
    return handler(params)


def _named_stack(params: dict[str, Any]) -> Any:
    return handlers._resolve_stack(handlers._p(params, "StackName"))


def _of_change_set(params: dict[str, Any]) -> Any:
    _, found = changesets._find_change_set(handlers._p(params, "ChangeSetName"), handlers._p(params, "StackName"))
    return cloudformation._stacks.get(found["StackName"]) if found else None


# claim: cloudformation-keeps-a-stack-whose-export-is-imported
# claim: cloudformation-keeps-a-stack-by-the-resolved-names-of-imports
def _deleted(handler: _Handler, params: dict[str, Any]) -> Any:
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


# claim: cloudformation-starts-nothing-without-its-values
def _with_values(handler: _Handler, params: dict[str, Any]) -> Any:
    answer = handler(params)
    found = _MISSING.search(unescape(answer[2].decode())) if answer[0] == 400 else None
    if found is None:
        return answer
    message = f"Unable to fetch parameters [{found[1]}] from parameter store for this account."
    return handlers._error("ValidationError", message)
