"""Failed deletions: CloudFormation keeps the dependencies of a resource that it could not delete.

MiniStack continues with these dependencies, so that a second deletion finds a custom resource without its function; and resources
that a creation's rollback could not delete leave their stack, so that no later deletion finds them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import engine, stacks

from mlops_local.saved_state import kept_stores

_STACK = "AWS::CloudFormation::Stack"
# resources that failed to be deleted, or were kept because of such a failure, by stack and operation
_failed: dict[str, tuple[int, set[str]]] = kept_stores.keep(__name__, "_failed", {})
_LOCK = threading.Lock()  # deletions of one wave run concurrently
# template of the operation that is rolled back, by stack: the stack itself has the previous one
_rolled_back: dict[str, dict[str, Any]] = kept_stores.leave(
    __name__, "_rolled_back", {}, why="operations of stacks under way"
)


def install() -> None:
    """Wrap each deletion of a resource; installed after faults, which count as failures too."""
    delete = stacks._delete_resource

    def deleted(
        resource_type: str, physical_id: str, props: Any, stack_name: str | None = None, logical_id: str | None = None
    ) -> None:
        failed = _of_operation(stack_name)
        try:
            _refuse_before(_dependents(stack_name, logical_id, among=tuple(failed)))
            delete(resource_type, physical_id, props, stack_name, logical_id)
        except Exception:
            failed.add(str(logical_id))
            raise

    stacks._delete_resource = deleted
    _register_rollbacks()


def _register_rollbacks() -> None:
    roll_back = stacks._roll_back_operation

    async def rolled_back(
        stack_name: str, stack_id: str, stack: Any, operation: dict[str, Any], reason_override: str = ""
    ) -> None:
        _rolled_back[stack_name] = operation.get("template") or {}
        before = dict(stack.get("_resources", {}))
        try:
            await roll_back(stack_name, stack_id, stack, operation, reason_override)
        finally:
            _rolled_back.pop(stack_name, None)
        if stack["StackStatus"] == "ROLLBACK_FAILED":
            # claim: cloudformation-keeps-in-the-stack-what-a-rollback-could-not-delete
            stack |= {
                "_template": operation.get("template") or {},
                "_resolved_params": operation.get("param_values") or {},
            }
            stack["_resources"] |= {
                name: record | {"ResourceStatus": "DELETE_FAILED"}
                for name, record in before.items()
                if name in stack["_rollback_failed"]
            }

    stacks._roll_back_operation = rolled_back


def _refuse_before(waiting: set[str]) -> None:
    # claim: cloudformation-keeps-what-a-failed-deletion-depends-on
    if waiting:
        raise ValueError(f"kept, because its dependents could not be deleted: {', '.join(sorted(waiting))}")


def _of_operation(stack_name: str | None) -> set[str]:
    """Return the resources that failed in the current operation, which the stack's own events delimit."""
    stack = cloudformation._stacks.get(stack_name) or {}
    stack_id = str(stack.get("StackId"))
    begun = sum(event["ResourceType"] == _STACK for event in cloudformation._stack_events.get(stack_id, []))
    with _LOCK:
        if _failed.get(stack_id, (-1, set()))[0] != begun:
            _failed[stack_id] = (begun, set())
        return _failed[stack_id][1]


def _dependents(stack_name: str | None, logical_id: str | None, *, among: Sequence[str]) -> set[str]:
    """Return which of some resources of a template depend on a resource."""
    if not among:
        return set()
    stack = cloudformation._stacks.get(stack_name) or {}
    template = _rolled_back.get(str(stack_name)) or stack.get("_template") or {}
    bodies = template.get("Resources") or {}
    names = set(bodies)
    return {name for name in among if name in names and logical_id in engine._extract_deps(bodies[name], names)}
