"""Operations for rollbacks: roll back, abort a rollout, and follow a rollback."""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from mlops_runtime.business_unit.deployed_chain import open_chain
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.console.http_message import Call, RefusedRequestError
from mlops_runtime.console.write_requests import AbortBody, RollbackBody, SeenVersion
from mlops_runtime.contracts import ContractError, from_json, to_dict
from mlops_runtime.contracts.rollout import AuditRecord, DeployReason, DeployRequest, LivePointer, Outcome
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.refused_calls import Tolerated
from mlops_runtime.registry.package_approval import person_of
from mlops_runtime.rollout.audit_chain import last_record
from mlops_runtime.rollout.execution_names import execution_arn, short_hash
from mlops_runtime.rollout.rollback import Answer, Begun, RollbackError, WayBack, target_package


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackBegun:
    """A started rollback; ``execution`` is the name for reading its progress.

    ``aborts`` is whether it aborts a rollout. That is only possible once the new fleet has begun to start: repeat the same request
    until ``is_final``.
    """

    execution: str | None
    aborts: bool
    is_final: bool
    summary: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackProgress:
    """Progress of a rollback: once it is over, whether the requested version serves, and a ``summary`` of the outcome."""

    execution: str
    is_over: bool
    is_served: bool | None
    summary: str
    record: AuditRecord | None


def roll_back(call: Call) -> RollbackBegun:
    """Start a rollback; a repeated request with the same idempotency key returns the started one.

    Raises:
        RefusedRequestError: If the displayed version has changed, a rollback is already running, or there is no version to restore.
    """
    body: RollbackBody = call.body
    entry = _entry(call)
    name = f"rollback-{short_hash(call.headers['idempotency-key'] + entry.endpoint)}"
    messages: list[str] = []
    way = _way(call, entry, messages)
    if _exists(call, execution_arn(entry.deploy_machine, name)):
        return RollbackBegun(
            execution=name, aborts=False, is_final=True, summary=("this rollback was already started",)
        )
    if (aborted := _aborted(call, way, body)) is not None:
        return aborted
    rollout = _checked(call, entry, way, body.expect)
    if rollout is None:
        return _begun(way, _request(call, body.reason, _target(entry, way, body)), name, messages)
    if body.to is not None:
        raise RefusedRequestError(
            409, f"the rollout {rollout} is running: abort it first, then roll back to version {body.to}"
        )
    return _begun(way, _request(call, body.reason, None), name, messages)


def abort(call: Call) -> RollbackBegun:
    """Abort the running rollout: its new fleet is rolled back, and the previous version continues to serve.

    Raises:
        RefusedRequestError: If the displayed version has changed, or no rollout is running.
    """
    body: AbortBody = call.body
    entry = _entry(call)
    messages: list[str] = []
    way = _way(call, entry, messages)
    if (aborted := _aborted(call, way, body)) is not None:
        return aborted
    if _checked(call, entry, way, body.expect) is None:
        raise RefusedRequestError(
            409, f"no rollout of {entry.endpoint} is running; to return to the previous version, roll back"
        )
    return _begun(way, _request(call, body.reason, None), "", messages)


def progress(call: Call) -> RollbackProgress:
    """Return the progress of a rollback, or of the rollout that it aborts.

    Raises:
        RefusedRequestError: If the Deploy machine has no such execution.
    """
    entry = _entry(call)
    execution = execution_arn(entry.deploy_machine, call.names["execution"])
    request_input = _input(call, execution)
    is_rollback = request_input is not None and request_input.reason is DeployReason.ROLLBACK
    package = None if request_input is None else request_input.model_package_arn
    request = request_input or _request(call, "", None)
    begun = Begun(
        request=request,
        execution=execution,
        wanted=package if is_rollback else None,
        before="" if is_rollback else package or "",
    )
    found = _way(call, entry, []).look(begun)
    if isinstance(found, Begun):
        return RollbackProgress(
            execution=call.names["execution"], is_over=False, is_served=None, summary="it is running", record=None
        )
    return RollbackProgress(
        execution=call.names["execution"],
        is_over=True,
        is_served=found.is_served,
        summary=found.text,
        record=found.record,
    )


def _entry(call: Call) -> EndpointEntry:
    entry = Entries(ssm=call.cloud.client("ssm")).endpoint(call.names["endpoint"])
    if entry.unit != call.names["unit"]:
        raise RefusedRequestError(
            404, f"endpoint {entry.endpoint} belongs to unit {entry.unit}, not {call.names['unit']}"
        )
    return entry


def _way(call: Call, entry: EndpointEntry, messages: list[str]) -> WayBack:
    client = call.cloud.client
    return WayBack(
        stepfunctions=client("stepfunctions"),
        cloudwatch=client("cloudwatch"),
        chain=open_chain(client, entry),
        machine_arn=entry.deploy_machine,
        wait=lambda _: None,
        echo=messages.append,
    )


def _aborted(call: Call, way: WayBack, body: AbortBody | RollbackBody) -> RollbackBegun | None:
    """Return the abort that an earlier attempt of this request made, found by the record after the displayed one."""
    last = last_record(way.chain.table.read())
    if last is None or last.sequence != body.expect.sequence + 1 or last.outcome is not Outcome.ROLLED_BACK:
        return None
    if not way.has_done(_request(call, body.reason, None), last):
        return None
    message = f"this was already done: record {last.sequence}, {last.outcome.value}"
    return RollbackBegun(execution=last.execution.rpartition(":")[2], aborts=True, is_final=True, summary=(message,))


def _checked(call: Call, entry: EndpointEntry, way: WayBack, expect: SeenVersion) -> str | None:
    """Return the name of the running rollout, after checking that the displayed version is current."""
    row = way.chain.table.read()
    live = None if row.live is None else from_json(LivePointer, row.live).model_package_arn
    if (row.audit_sequence, live) != (expect.sequence, expect.package):
        last = last_record(row)
        came = (
            "" if last is None else f": record {last.sequence}, {last.outcome.value}, by {person_of(last.requested_by)}"
        )
        raise RefusedRequestError(
            409,
            f"{entry.endpoint} has changed since it was displayed{came}; {live or 'no version'} serves. Reload it, then decide",
        )
    running = way.running()
    for execution in running:
        request_input = _input(call, execution)
        if request_input is not None and request_input.reason is DeployReason.ROLLBACK:
            by = person_of(request_input.requested_by)
            raise RefusedRequestError(
                409, f"a rollback by {by} is already running: {execution.rpartition(':')[2]}; follow it"
            )
    return row.owner.rpartition(":")[2] if row.owner in running and row.owner is not None else None


def _target(entry: EndpointEntry, way: WayBack, body: RollbackBody) -> str | None:
    """Return the ARN of the package to restore, so that a second rollback finds it serving; ``None`` if it is unknown."""
    if body.to is not None:
        return target_package(str(body.to), group=entry.group, machine_arn=entry.deploy_machine)
    return way.before()


def _request(call: Call, reason: str, package: str | None) -> DeployRequest:
    return DeployRequest(
        reason=DeployReason.ROLLBACK,
        requested_by=call.caller,
        requested_at=str(to_dict(call.now)),
        model_package_arn=package,
        comment=reason.strip(),
    )


def _begun(way: WayBack, request: DeployRequest, name: str, messages: list[str]) -> RollbackBegun:
    try:
        found = way.begin(request, name=name or None)
    except RollbackError as error:
        raise RefusedRequestError(409, str(error)) from error
    if isinstance(found, Answer):
        return RollbackBegun(execution=None, aborts=False, is_final=True, summary=(*messages, found.text))
    return RollbackBegun(
        execution=found.execution.rpartition(":")[2],
        aborts=found.aborts,
        is_final=found.is_alarm_set or not found.aborts,
        summary=tuple(messages)
        if found.is_alarm_set or not found.aborts
        else (*messages, "the new fleet has not started yet"),
    )


def _exists(call: Call, execution: str) -> bool:
    with Tolerated("ExecutionDoesNotExist"):
        call.cloud.client("stepfunctions").describe_execution(executionArn=execution)
        return True
    return False


def _input(call: Call, execution: str) -> DeployRequest | None:
    """Return the request of an execution; ``None`` for an execution started by hand with another input."""
    stepfunctions: Any = call.cloud.client("stepfunctions")
    try:
        return from_json(DeployRequest, stepfunctions.describe_execution(executionArn=execution)["input"])
    except ContractError:
        return None
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        raise RefusedRequestError(
            404, f"{execution.rpartition(':')[2]} is not an execution of this endpoint"
        ) from error
