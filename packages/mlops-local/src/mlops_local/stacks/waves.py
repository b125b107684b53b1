"""Concurrent custom resources of a wave, as in CloudFormation: in create, update, delete and rollback.

All other resources take no time here, so that their order is enough (``stacks.creation_order``). Functions of custom resources take
seconds, and CloudFormation invokes those of all ready resources. MiniStack's operations await one resource after another; here the
first resource of a wave that an operation awaits starts the others too, each on its own thread, as MiniStack runs every custom
resource, in a copy of the operation's context (account, Region, request token). When the operation reaches one of these, it takes
the result. Their events are written when they occur.

If one resource of a creation or update fails, CloudFormation does not wait for those in progress: it cancels them and starts the
rollback. The rollback invokes their functions to delete while the first invocation still runs, with a generated physical id, as the
function has not responded with one.

The following remain sequential: removals and replacements after an update's work, repetitions by ContinueUpdateRollback, and nested
stacks.
"""

from __future__ import annotations

import asyncio
import copy
import json
import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Any

from ministack.core import concurrency
from ministack.core.responses import now_iso
from ministack.services import cloudformation
from ministack.services.cloudformation import changesets, engine, handlers, stacks

from mlops_local.stacks import creation_order, custom_resources

Record = Mapping[str, Any]
_DYNAMIC = "{{resolve:"  # an update may resolve such a reference from its cache


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a thread for a resource."""

    call: Callable[..., Any]  # MiniStack's function
    arguments: tuple[Any, ...]  # its arguments; the first is the resource type
    verb: str  # `CREATE`, `UPDATE` or `DELETE`, as in the resource's events
    physical_id: str = ""  # physical id of an existing resource. Default: the resource is new

    def made(self, result: Any) -> tuple[str, dict[str, Any]]:
        """Return physical id and attributes from the result of the work."""
        if result is None:
            return self.physical_id, {}
        physical_id, attributes = result[0] if isinstance(result[0], tuple) else result
        return physical_id, attributes


class Operation(ABC):
    """An operation on a stack.

    Args:
        stack_id: ARN of the stack.
        template: Template with the definitions of its resources.
        conditions: The template's conditions, evaluated.
    """

    def __init__(self, stack_name: str, stack_id: str, template: Record, conditions: Mapping[str, bool]) -> None:
        self.stack_name = stack_name
        self.stack_id = stack_id
        self.definitions: Mapping[str, Record] = template.get("Resources") or {}
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.works: dict[str, Work] = {}
        self.announced: set[tuple[str, str]] = set()  # logical id and verb of resources whose events this class writes
        self.settled: set[str] = set()  # logical ids whose result the operation has requested
        self._context: Context = copy_context()
        try:
            self._waves = creation_order.waves(self.definitions, conditions)
        except ValueError:
            self._waves = {}  # the operation fails because of it

    @property
    def stack(self) -> dict[str, Any]:
        """MiniStack's record of the stack."""
        found: dict[str, Any] = cloudformation._stacks.get(self.stack_name) or {}
        return found

    @abstractmethod
    def work(self, name: str) -> Work | None:
        """Return the work for a resource that can run concurrently with its wave; ``None`` if it must wait for its turn."""

    async def take(self, name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Return the result of a resource's work; the first resource of a wave starts the others too."""
        # claim: cloudformation-works-in-parallel
        for other, wave in self._waves.items():
            if other not in (name, *self.tasks) and wave == self._waves.get(name):
                work = self.work(other)
                if work is not None:
                    self._begin(other, work, self._context.copy())
        if name not in self.tasks:
            self.tasks[name] = asyncio.create_task(concurrency.run_reentrant(call, *arguments))
            self.tasks[name].add_done_callback(_retrieve_exception)
        self.settled.add(name)
        await self.wait(name)
        return await self.tasks[name]

    async def wait(self, name: str) -> None:
        """Wait until a resource's work is done."""
        await asyncio.wait([self.tasks[name]])

    def _begin(self, name: str, work: Work, context: Context) -> None:
        self.works[name] = work
        self.announced.add((name, work.verb))
        self.write_event(name, "IN_PROGRESS", physical_id=work.physical_id)
        self.tasks[name] = asyncio.get_running_loop().create_task(self._run(name, work), context=context)
        self.tasks[name].add_done_callback(_retrieve_exception)

    async def _run(self, name: str, work: Work) -> Any:
        try:
            result = await concurrency.run_reentrant(work.call, *work.arguments)
        except Exception as error:
            self.write_event(name, "FAILED", str(error), work.physical_id)
            raise
        self.write_event(name, "COMPLETE", physical_id=work.made(result)[0])
        return result

    def write_event(self, name: str, status: str, reason: str = "", physical_id: str = "") -> None:
        """Write an event of a concurrent resource, once; a late result of a cancelled one is ignored."""
        work = self.works[name]
        if (name, work.verb) in self.announced:
            kind, status = str(work.arguments[0]), f"{work.verb}_{status}"
            _add_event(self.stack_id, self.stack_name, name, kind, status, reason, physical_id)


class Deployment(Operation):
    """A creation or update.

    Args:
        stack_id: ARN of the stack.
        template: The new template.
        parameters: Parameter values.
        previous: The stack before an update. Default: the stack is created.
    """

    def __init__(
        self, stack_name: str, stack_id: str, template: Record, parameters: Record, previous: Record | None
    ) -> None:
        self._conditions = engine._evaluate_conditions(template, parameters)
        super().__init__(stack_name, stack_id, template, self._conditions)
        self._mappings = template.get("Mappings", {})
        self._parameters = parameters
        self._verb = "CREATE" if previous is None else "UPDATE"
        self._before: Mapping[str, Record] = {} if previous is None else previous.get("_resources") or {}

    def work(self, name: str) -> Work | None:
        """Return the creation or update, with the properties that MiniStack will resolve identically at its turn."""
        definition = self.definitions[name]
        try:
            resolved = engine._resolve_refs(
                copy.deepcopy(definition.get("Properties", {})), self.stack["_resources"], self._parameters,
                self._conditions, self._mappings, self.stack_name, self.stack_id,
            )  # fmt: skip
        except Exception:
            return None  # it fails at its turn
        properties = {key: value for key, value in resolved.items() if value is not engine._NO_VALUE}
        if _DYNAMIC in json.dumps(properties, default=str):
            return None
        before, kind = self._before.get(name), str(definition["Type"])
        if before is None:
            return Work(stacks._provision_keeping_seed, (kind, name, properties, self.stack_name), self._verb)
        old = before["PhysicalResourceId"], before.get("Properties", {})
        arguments = (kind, *old, properties, self.stack_name, name, before.get("Attributes", {}))
        return Work(stacks._update_keeping_seed, arguments, self._verb, old[0])

    async def wait(self, name: str) -> None:
        """Wait until a resource's work is done, or another resource fails, which cancels this one.

        Raises:
            RuntimeError: With CloudFormation's message, if it is cancelled.
        """
        # claim: cloudformation-cancels-what-is-in-progress
        # claim: cloudformation-cancels-updates
        task = self.tasks[name]
        while not task.done():
            await asyncio.wait(
                [one for one in self.tasks.values() if not one.done()], return_when=asyncio.FIRST_COMPLETED
            )
            if not task.done() and any(one.done() and one.exception() for one in self.tasks.values()):
                raise RuntimeError(self._cancelled(name))

    def leave(self, updated: str | None) -> list[str]:
        """Cancel work in progress, and record resources that a rollback must undo but the operation does not know.

        Returns:
            Logical ids of the recorded resources.
        """
        # claim: cloudformation-deletes-what-it-cancelled
        # claim: cloudformation-deletes-what-failed-to-be-created
        left = []
        for name, task in self.tasks.items():
            if not task.done() and name not in self.settled:
                self.write_event(name, "FAILED", self._cancelled(name))
            self.announced.discard((name, self._verb))
            if name == updated or (name in self.settled and _is_well(task)):
                continue
            record = self._record(name, task)
            if record is not None:
                self.stack["_resources"][name] = record
                left.append(name)
        return left

    def failed(self) -> list[str]:
        """Return the logical ids of failed and cancelled resources."""
        return sorted(name for name, task in self.tasks.items() if not _is_well(task))

    def _cancelled(self, name: str) -> str:
        return f"Resource {'update' if name in self._before else 'creation'} cancelled"

    def _record(self, name: str, task: asyncio.Task[Any]) -> dict[str, Any] | None:
        """Return the record of a completed, failed or cancelled resource; ``None`` if its function was never invoked."""
        work, before = self.works.get(name), self._before.get(name)
        attributes: Any = {} if before is None else before.get("Attributes", {})
        physical_id = "" if before is None else before["PhysicalResourceId"]
        if work is not None and _is_well(task):
            physical_id, attributes = work.made(task.result())
        elif before is None:
            answered = custom_resources.failed_creation(self.stack_id, name)
            if answered is None and task.done():
                return None
            physical_id = answered or self._made_up_id(name)
        if work is None:
            found = self.work(name)
            if found is None:
                return None
            work = found
        return {
            "PhysicalResourceId": physical_id,
            "ResourceType": work.arguments[0],
            "ResourceStatus": f"{self._verb}_{'COMPLETE' if _is_well(task) else 'FAILED'}",
            "LogicalResourceId": name,
            "Properties": work.arguments[2 if before is None else 3],
            "Attributes": attributes,
            "Timestamp": now_iso(),
        }

    def _made_up_id(self, name: str) -> str:
        letters = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(12))
        return f"{self.stack_name}-{name}-{letters}"


class Deletion(Operation):
    """The deletion of a stack.

    Args:
        stack_id: Its ARN.
        kept: Logical ids of resources that the caller retains.
    """

    def __init__(self, stack_name: str, stack_id: str, kept: frozenset[str]) -> None:
        stack = cloudformation._stacks.get(stack_name) or {}
        super().__init__(stack_name, stack_id, stack.get("_template") or {}, stack.get("_conditions", {}))
        self._kept = kept

    def work(self, name: str) -> Work | None:
        """Return the deletion of an existing resource."""
        record = self.stack.get("_resources", {}).get(name)
        if record is None or name in self._kept or not _is_deleted(self.definitions[name]):
            return None
        return _deletion(record, self.stack_name, name)


class Rollback(Operation):
    """The rollback of a creation or update.

    Args:
        stack_id: Its ARN.
        failed: MiniStack's record of the operation that is rolled back.
    """

    def __init__(self, stack_name: str, stack_id: str, failed: Record) -> None:
        template = failed.get("template") or {}
        conditions = engine._evaluate_conditions(template, failed.get("param_values") or {})
        super().__init__(stack_name, stack_id, template, conditions)
        self._created = frozenset(failed.get("created", ()))
        self._replaced = frozenset(failed.get("replaced_ids", ()))
        previous = failed.get("previous_stack") if failed.get("is_update") else None
        self._before: Mapping[str, Record] = (previous or {}).get("_resources", {})
        self._deletes = False  # a rollback updates first

    async def take(self, name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Return the result of a resource's work; others of its wave do the same kind of work (update or delete)."""
        self._deletes = call is stacks._delete_resource
        return await super().take(name, call, arguments)

    def work(self, name: str) -> Work | None:
        """Return the update to the previous properties, or the deletion of a new resource, depending on the current phase."""
        record = self.stack.get("_resources", {}).get(name)
        if record is None or name not in self._created:
            return None
        before, physical_id = self._before.get(name), record["PhysicalResourceId"]
        is_new = before is None or before.get("PhysicalResourceId") != physical_id or name in self._replaced
        if self._deletes:
            return _deletion(record, self.stack_name, name) if is_new and _is_deleted(self.definitions[name]) else None
        if before is None or is_new or record["Properties"] == before["Properties"]:
            return None
        arguments = (
            record["ResourceType"], physical_id, record["Properties"], before["Properties"], self.stack_name, name,
            record.get("Attributes", {}),
        )  # fmt: skip
        return Work(stacks._update_resource, arguments, "UPDATE", physical_id)


_running: ContextVar[Operation | None] = ContextVar("mlops_local_stack_operation", default=None)
_add_event = stacks._add_event


def install() -> None:
    """Wrap each operation on a stack, and its awaiting of threads; installed after all other wrappers of these functions."""
    _register_operations()
    _undo_leftovers()
    add_event = stacks._add_event

    def added(
        stack_id: str, stack_name: str, logical_id: str, resource_type: str, status: str, *rest: Any, **named: Any
    ) -> None:
        operation, verb = _running.get(), status.partition("_")[0]
        if (
            operation is not None
            and operation.stack_id == stack_id
            and creation_order.is_custom(resource_type)
            and (logical_id, verb) in operation.announced
        ):
            return  # the event is written when it occurs
        add_event(stack_id, stack_name, logical_id, resource_type, status, *rest, **named)

    stacks._add_event = added
    stacks.run_reentrant = _run


async def _run(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Run an awaited call: a custom resource's with its wave, any other alone."""
    operation = _running.get()
    place = _place(call, operation)
    if operation is None or place is None or not creation_order.is_custom(str(arguments[0])):
        return await concurrency.run_reentrant(call, *arguments, **named)
    return await operation.take(str(arguments[place]), call, arguments)


def _place(call: Callable[..., Any], operation: Operation | None) -> int | None:
    """Return the index of the logical id argument; ``None`` for calls outside of waves."""
    if isinstance(operation, Deployment):  # its deletions are clean-ups after the work
        return {stacks._provision_keeping_seed: 1, stacks._update_keeping_seed: 5}.get(call)
    return {stacks._delete_resource: 4, stacks._update_resource: 5}.get(call)


def _register_operations() -> None:
    deploy, delete, roll_back = stacks._deploy_stack_async, stacks._delete_stack_async, stacks._roll_back_operation

    async def deployed(  # noqa: PLR0917 - MiniStack's own signature
        stack_name: str, stack_id: str, template: Any, param_values: Any, disable_rollback: bool, tags: Any,
        is_update: bool = False, previous_stack: Any = None, *rest: Any, **named: Any,
    ) -> None:  # fmt: skip
        previous = (previous_stack or {}) if is_update else None
        with _Running(Deployment(stack_name, stack_id, template, param_values, previous)):
            await deploy(
                stack_name, stack_id, template, param_values, disable_rollback, tags, is_update, previous_stack,
                *rest, **named,
            )  # fmt: skip

    async def deleted(stack_name: str, stack_id: str, retain_resources: Any = (), force: bool = False) -> None:
        everything = (cloudformation._stacks.get(stack_name) or {}).get("_resources", {})
        kept = frozenset(
            everything if force else retain_resources
        )  # a forced deletion determines the retained resources on its way
        with _Running(Deletion(stack_name, stack_id, kept)):
            await delete(stack_name, stack_id, retain_resources, force)

    async def rolled_back(stack_name: str, stack_id: str, stack: Any, operation: Any, *rest: Any, **named: Any) -> None:
        with _Running(Rollback(stack_name, stack_id, operation)):
            await roll_back(stack_name, stack_id, stack, operation, *rest, **named)

    stacks._deploy_stack_async = handlers._deploy_stack_async = changesets._deploy_stack_async = deployed
    stacks._delete_stack_async = handlers._delete_stack_async = deleted
    stacks._roll_back_operation = handlers._roll_back_operation = rolled_back


def _undo_leftovers() -> None:
    failed_operation = stacks._failed_operation

    def failed(
        is_update: bool, previous_stack: Any, created: Any, failed_update: Any, failed_logical_id: Any, *rest: Any
    ) -> dict[str, Any]:
        operation = _running.get()
        if isinstance(operation, Deployment):
            created = [*created, *operation.leave(failed_update and failed_update[0])]
            if failed_logical_id in operation.tasks:
                failed_logical_id = ", ".join(operation.failed())
        found: dict[str, Any] = failed_operation(
            is_update, previous_stack, created, failed_update, failed_logical_id, *rest
        )
        return found

    stacks._failed_operation = failed


class _Running:
    """Sets the operation of the current task."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        self._token = _running.set(self._operation)

    def __exit__(self, *error: object) -> None:
        _running.reset(self._token)


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Retrieve a task's exception, because cancelled work is not awaited."""
    if not task.cancelled():
        task.exception()


def _is_well(task: asyncio.Task[Any]) -> bool:
    return task.done() and task.exception() is None


def _is_deleted(definition: Record) -> bool:
    return bool(definition.get("DeletionPolicy", "Delete") == "Delete")


def _deletion(record: Record, stack_name: str, name: str) -> Work:
    physical_id = record.get("PhysicalResourceId", "")
    arguments = (record["ResourceType"], physical_id, record.get("Properties", {}), stack_name, name)
    return Work(stacks._delete_resource, arguments, "DELETE", physical_id)
