"""Manual rollback: abort the running rollout, or start the Deploy machine, and follow it to its end.

The old fleet is kept while a rollout bakes, so setting the abort alarm rolls back at once. In every case, the version that is live
at the end decides on success.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.rollout import AuditRecord, DeployReason, DeployRequest, LivePointer, LockRow, Outcome
from mlops_runtime.refused_calls import Tolerated
from mlops_runtime.rollout.audit_chain import AuditChain, last_record
from mlops_runtime.rollout.deploy_plan import live_pointer
from mlops_runtime.rollout.execution_names import running_executions, short_hash, start_once, version_name
from mlops_runtime.rollout.fleet_alarms import ABORT, alarm_prefix

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_stepfunctions import SFNClient

_MAXIMUM_REASON = 1023  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html
_RECORDS = 50  # newest records that are searched for the previous version
_QUOTED = 150  # characters of a rollback's reason that its record contains in any case


class RollbackError(Exception):
    """A rollback is impossible; the message states the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Result of a rollback: whether the wanted version is live, a description, and the execution's last record."""

    is_served: bool
    text: str
    record: AuditRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A rollback in progress."""

    request: DeployRequest  # the request; with a package, if another rollback must follow the execution
    execution: str  # ARN of the followed execution
    wanted: str | None  # the package that must be live at its end. None: any other than `before`
    before: str  # the package that was live when it began
    aborts: bool = False  # whether the execution is a rollout to abort by its alarm
    is_alarm_set: bool = False  # whether that alarm is set
    is_last: bool = True  # whether the execution was started for this request, so that its end is the result


def target_package(wanted: str, *, group: str, machine_arn: str) -> str:
    """Return the ARN of a package that a user names by version number or ARN.

    Args:
        wanted: Version number or ARN.
        group: The endpoint's model package group.
        machine_arn: The Deploy machine, in the package's account and region.

    Raises:
        RollbackError: If it is neither, or a package of another group.

    Example:
        >>> target_package("3", group="demand-forecast", machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:Deploy")
        'arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/3'
    """
    _, partition, _, region, account, *_ = machine_arn.split(":")
    stem = f"arn:{partition}:sagemaker:{region}:{account}:model-package/{group}/"
    version = wanted.removeprefix(stem)
    if not re.fullmatch(r"[1-9]\d{0,8}", version, re.ASCII):
        raise RollbackError(
            f"the version must be a number such as 3, or an ARN that begins with {stem}, got {wanted!r}; "
            "list versions with: mlops models list"
        )
    return stem + version


def package_before(live: LivePointer, records: Sequence[AuditRecord]) -> str | None:
    """Return the package of the version before the live one; None if the records do not show it.

    Args:
        live: The live version.
        records: Records of the endpoint, the newest last.
    """
    if live.previous is None or live.previous_package is not None:
        return live.previous_package
    return next((each.serving_package for each in reversed(records) if each.serving_config == live.previous), None)


def abort_alarm(endpoint: str, execution: str) -> str:
    """Return the name of the alarm that aborts an execution's rollout."""
    return f"{alarm_prefix(endpoint)}{version_name(endpoint, execution).rpartition('-')[2]}-{ABORT}"


def status_of(stepfunctions: "SFNClient", execution: str) -> str:
    """Return the status of an execution."""
    return str(stepfunctions.describe_execution(executionArn=execution)["status"])


def read_end(stepfunctions: "SFNClient", chain: AuditChain, execution: str) -> tuple[str, str, AuditRecord | None]:
    """Return the package that is live after an execution (or "nothing"), the outcome in one line, and its record."""
    live, record = live_pointer(chain.table.read()), chain.record_of(execution)
    serves = "nothing" if live is None else live.model_package_arn
    if record is None:
        message = f"{execution.rpartition(':')[2]} ended {status_of(stepfunctions, execution)} without a record"
    else:
        message = f"{record.outcome.value}: {record.reason}" if record.reason else record.outcome.value
    return serves, f"{message}; live: {serves}", record


def _request_text(request: DeployRequest) -> str:
    return f"requested by {request.requested_by}" + (f": {request.comment}" if request.comment else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """Rollbacks of one endpoint."""

    stepfunctions: "SFNClient"
    cloudwatch: "CloudWatchClient"
    chain: AuditChain  # the endpoint's chain and row
    machine_arn: str  # the Deploy machine
    wait: Callable[[str | None], None]  # called between two polls with the ARN of the followed execution
    echo: Callable[[str], None]  # called with one line for each step

    def go(self, request: DeployRequest) -> Answer:
        """Roll back, and return the result at the end.

        Args:
            request: With reason ``rollback`` and the wanted package; without a package, the previous version.

        Raises:
            RollbackError: If no model is live.
        """
        found = self.begin(request)
        while isinstance(found, Begun):
            seen = self.look(found)
            if isinstance(seen, Begun) and seen.execution == found.execution:
                self.wait(seen.execution)
            found = seen
        return found

    def begin(self, request: DeployRequest, *, name: str | None = None) -> Begun | Answer:
        """Begin a rollback without waiting. An earlier one of the same request, running or done, is found instead.

        Args:
            request: See ``go``.
            name: Name of the execution to start; an existing execution of this name is followed. Default: from the request.

        Returns:
            The rollback for ``look`` to follow, or the result if nothing has to be done.

        Raises:
            RollbackError: If no model is live.
        """
        row = self.chain.table.read()
        live = live_pointer(row)
        running = self.running()
        holder = row.owner if row.owner in running else None
        if live is None:
            raise RollbackError(
                f"NOT_YET_DEPLOYED: no model is live on {row.endpoint} yet, so there is nothing to roll back "
                + ("to; the first rollout runs" if holder else "from; approve a model package first")
            )
        if holder is None:
            return self._alone(request, live, row, running, name)
        if len(running) > 1:
            self.echo(
                f"{len(running) - 1} more executions wait for the endpoint and continue afterwards: mlops status shows them"
            )
        return self._beside(holder, request, live)

    def look(self, begun: Begun) -> Begun | Answer:
        """Return the current state of a rollback: the same while its execution runs, a following rollback, or the result.

        Sets the abort alarm of a rollout once the alarm exists.

        Args:
            begun: Returned by ``begin``, or by the previous call.
        """
        if status_of(self.stepfunctions, begun.execution) == "RUNNING":
            return self._aborted(begun) if begun.aborts and not begun.is_alarm_set else begun
        answer = self._answer(begun)
        return answer if begun.is_last or answer.is_served else self._start(begun.request, begun.before)

    def before(self) -> str | None:
        """Return the package that a rollback would return to; None if the newest records do not show it."""
        row = self.chain.table.read()
        live = live_pointer(row)
        return None if live is None else package_before(live, self.chain.newest(row, _RECORDS))

    def _alone(
        self, request: DeployRequest, live: LivePointer, row: LockRow, running: Sequence[str], name: str | None
    ) -> Begun | Answer:
        """Start a rollback, unless it is already done or was started by an interrupted command."""
        if live.model_package_arn == request.model_package_arn:
            return Answer(is_served=True, text=f"{live.model_package_arn} is already live; nothing changed")
        begun = next((each for each in running if self._is_requested(request, each)), None)
        if begun is not None:
            self.echo(f"this rollback already waits for the endpoint: following {begun}")
            return Begun(
                request=request, execution=begun, wanted=request.model_package_arn, before=live.model_package_arn
            )
        last = last_record(row)
        if last is not None and request.model_package_arn is None and self.has_done(request, last):
            done = f"record {last.sequence} of {last.at}: {last.outcome.value}: {last.reason}"
            return Answer(
                is_served=True,
                text=f"this rollback was already done, {done}; live: {live.model_package_arn}. For an earlier version use --to, "
                "or give another reason",
                record=last,
            )
        return self._start(request, live.model_package_arn, name)

    def _is_requested(self, request: DeployRequest, execution: str) -> bool:
        """Whether an execution was started for the same rollback: by the same caller, for the same reason."""
        requested = self._request_of(execution)
        return requested is not None and replace(requested, requested_at=request.requested_at) == request

    def has_done(self, request: DeployRequest, last: AuditRecord) -> bool:
        """Whether the newest record is of this rollback: of its own execution, or of a rollout that it aborted."""
        if last.outcome is Outcome.ROLLED_BACK:
            return _request_text(request)[:_QUOTED] in last.reason
        return last.outcome is Outcome.PROMOTED and self._is_requested(request, last.execution)

    def _beside(self, holder: str, request: DeployRequest, live: LivePointer) -> Begun:
        """Abort a running rollout, which returns to the previous version, and continue if another version is wanted."""
        requested, before = self._request_of(holder), live.model_package_arn
        if requested is not None and requested.reason is DeployReason.ROLLBACK:
            self.echo(f"a rollback is already running: following {holder}")
            wanted = request.model_package_arn or requested.model_package_arn
            return Begun(request=request, execution=holder, wanted=wanted, before=before, is_last=False)
        self.echo(f"a rollout is running: {holder}")
        wanted = request.model_package_arn or before
        return self._aborted(
            Begun(
                request=replace(request, model_package_arn=wanted),
                execution=holder,
                wanted=wanted,
                before=before,
                aborts=True,
                is_last=False,
            )
        )

    def _aborted(self, begun: Begun) -> Begun:
        """Set the abort alarm of a rollout, which exists only while the new fleet does."""
        alarm = abort_alarm(self.chain.table.endpoint, begun.execution)
        if not self._set_alarm(alarm, _request_text(begun.request)[:_MAXIMUM_REASON]):
            return begun
        self.echo(f"{alarm} is set to ALARM: the new fleet is rolled back")
        return replace(begun, is_alarm_set=True)

    def _set_alarm(self, alarm: str, reason: str) -> bool:
        with Tolerated("ResourceNotFound", "ResourceNotFoundException"):
            self.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason=reason)
            return True
        return False

    def _start(self, request: DeployRequest, before: str, name: str | None = None) -> Begun:
        name = name or f"rollback-{short_hash(canonical_json(request).decode())}"
        execution = start_once(self.stepfunctions, self.machine_arn, name, request)
        self.echo(f"following {execution}")
        return Begun(request=request, execution=execution, wanted=request.model_package_arn, before=before)

    def _answer(self, begun: Begun) -> Answer:
        serves, text, record = read_end(self.stepfunctions, self.chain, begun.execution)
        is_served = serves == begun.wanted if begun.wanted is not None else serves not in ("nothing", begun.before)
        return Answer(is_served=is_served, text=text, record=record)

    def running(self) -> list[str]:
        """Return the executions of the Deploy machine that run or wait."""
        return running_executions(self.stepfunctions, self.machine_arn)

    def _request_of(self, execution: str) -> DeployRequest | None:
        try:
            return from_json(DeployRequest, self.stepfunctions.describe_execution(executionArn=execution)["input"])
        except (ContractError, self.stepfunctions.exceptions.ExecutionDoesNotExist):
            return None  # started by hand with another input, and aborted like any other; or too long ago
