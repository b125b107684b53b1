"""Rolling back, aborting a rollout, and where a rollback is."""

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
from mlops_runtime.registry.package_approval import person_of
from mlops_runtime.rollout.audit_chain import last_record
from mlops_runtime.rollout.execution_names import execution_arn, short_hash
from mlops_runtime.rollout.rollback import Answer, Begun, RollbackError, WayBack, target_package


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackBegun:
    """A rollback that has begun; ``execution`` is the name to ask for.

    ``aborts`` is whether a rollout is aborted. Its alarm can only be set once the new fleet has begun to start: until
    ``is_final`` send the same request again.
    """

    execution: str | None
    aborts: bool
    is_final: bool
    says: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackProgress:
    """Where a rollback is. Once it is over, ``is_served`` says whether what was wanted serves, and ``says`` how it came out."""

    execution: str
    is_over: bool
    is_served: bool | None
    says: str
    record: AuditRecord | None


def roll_back(call: Call) -> RollbackBegun:
    """Begin a rollback; the one that the same key began is found again.

    Raises:
        RefusedRequestError: If what the person saw has changed, a rollback runs already, or nothing can be returned to.
    """
    body: RollbackBody = call.body
    entry = _entry(call)
    name = f"rollback-{short_hash(call.headers['idempotency-key'] + entry.endpoint)}"
    said: list[str] = []
    way = _way(call, entry, said)
    if _exists(call, execution_arn(entry.deploy_machine, name)):
        return RollbackBegun(execution=name, aborts=False, is_final=True, says=("this rollback has begun already",))
    if (aborted := _aborted(call, way, body)) is not None:
        return aborted
    rollout = _checked(call, entry, way, body.expect)
    if rollout is None:
        return _begun(way, _request(call, body.reason, _target(entry, way, body)), name, said)
    if body.to is not None:
        raise RefusedRequestError(
            409, f"the rollout {rollout} runs: abort it first, then roll back to version {body.to}"
        )
    return _begun(way, _request(call, body.reason, None), name, said)


def abort(call: Call) -> RollbackBegun:
    """Abort the rollout that runs: its new fleet is rolled back, and the version that served before it keeps serving.

    Raises:
        RefusedRequestError: If what the person saw has changed, or no rollout runs.
    """
    body: AbortBody = call.body
    entry = _entry(call)
    said: list[str] = []
    way = _way(call, entry, said)
    if (aborted := _aborted(call, way, body)) is not None:
        return aborted
    if _checked(call, entry, way, body.expect) is None:
        raise RefusedRequestError(
            409, f"no rollout of {entry.endpoint} runs; to return to the version before, roll back"
        )
    return _begun(way, _request(call, body.reason, None), "", said)


def progress(call: Call) -> RollbackProgress:
    """Return where a rollback is, or the rollout that it aborts.

    Raises:
        RefusedRequestError: If the Deploy machine has no such execution.
    """
    entry = _entry(call)
    execution = execution_arn(entry.deploy_machine, call.names["execution"])
    asked = _input(call, execution)
    is_rollback = asked is not None and asked.reason is DeployReason.ROLLBACK
    package = None if asked is None else asked.model_package_arn
    request = asked or _request(call, "", None)
    begun = Begun(
        request=request,
        execution=execution,
        wanted=package if is_rollback else None,
        before="" if is_rollback else package or "",
    )
    found = _way(call, entry, []).look(begun)
    if isinstance(found, Begun):
        return RollbackProgress(
            execution=call.names["execution"], is_over=False, is_served=None, says="it runs", record=None
        )
    return RollbackProgress(
        execution=call.names["execution"], is_over=True, is_served=found.is_served, says=found.text, record=found.record
    )


def _entry(call: Call) -> EndpointEntry:
    entry = Entries(ssm=call.cloud.client("ssm")).endpoint(call.names["endpoint"])
    if entry.unit != call.names["unit"]:
        raise RefusedRequestError(404, f"endpoint {entry.endpoint} is of unit {entry.unit}, not {call.names['unit']}")
    return entry


def _way(call: Call, entry: EndpointEntry, said: list[str]) -> WayBack:
    client = call.cloud.client
    return WayBack(
        stepfunctions=client("stepfunctions"),
        cloudwatch=client("cloudwatch"),
        chain=open_chain(client, entry),
        machine_arn=entry.deploy_machine,
        wait=lambda _: None,
        say=said.append,
    )


def _aborted(call: Call, way: WayBack, body: AbortBody | RollbackBody) -> RollbackBegun | None:
    """Return the abort that this very request has made already, whichever process took it: what followed what the person saw."""
    last = last_record(way.chain.table.read())
    if last is None or last.sequence != body.expect.sequence + 1 or last.outcome is not Outcome.ROLLED_BACK:
        return None
    if not way.has_done(_request(call, body.reason, None), last):
        return None
    says = f"this was done already: record {last.sequence}, {last.outcome.value}"
    return RollbackBegun(execution=last.execution.rpartition(":")[2], aborts=True, is_final=True, says=(says,))


def _checked(call: Call, entry: EndpointEntry, way: WayBack, expect: SeenVersion) -> str | None:
    """Return the name of the rollout that runs, after a check that the person has seen what is."""
    row = way.chain.table.read()
    live = None if row.live is None else from_json(LivePointer, row.live).model_package_arn
    if (row.audit_sequence, live) != (expect.sequence, expect.package):
        last = last_record(row)
        came = (
            "" if last is None else f": record {last.sequence}, {last.outcome.value}, by {person_of(last.requested_by)}"
        )
        raise RefusedRequestError(
            409,
            f"{entry.endpoint} has changed since it was shown{came}; {live or 'nothing'} serves. Read it again, then decide",
        )
    running = way.running()
    for execution in running:
        asked = _input(call, execution)
        if asked is not None and asked.reason is DeployReason.ROLLBACK:
            by = person_of(asked.requested_by)
            raise RefusedRequestError(
                409, f"a rollback by {by} runs already: {execution.rpartition(':')[2]}; follow it"
            )
    return row.owner.rpartition(":")[2] if row.owner in running and row.owner is not None else None


def _target(entry: EndpointEntry, way: WayBack, body: RollbackBody) -> str | None:
    """Return the package to return to: by its ARN where it is known, so that a second rollback finds it serving."""
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


def _begun(way: WayBack, request: DeployRequest, name: str, said: list[str]) -> RollbackBegun:
    try:
        found = way.begin(request, name=name or None)
    except RollbackError as error:
        raise RefusedRequestError(409, str(error)) from error
    if isinstance(found, Answer):
        return RollbackBegun(execution=None, aborts=False, is_final=True, says=(*said, found.text))
    return RollbackBegun(
        execution=found.execution.rpartition(":")[2],
        aborts=found.aborts,
        is_final=found.is_alarm_set or not found.aborts,
        says=tuple(said)
        if found.is_alarm_set or not found.aborts
        else (*said, "the new fleet has not begun to start yet"),
    )


def _exists(call: Call, execution: str) -> bool:
    try:
        call.cloud.client("stepfunctions").describe_execution(executionArn=execution)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return False
    return True


def _input(call: Call, execution: str) -> DeployRequest | None:
    """Return what an execution was asked for; None of one that was started by hand with something else."""
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
