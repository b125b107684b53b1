"""Current status of a unit, read from its tables, SageMaker, state machines and monitor reports."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

from mlops_runtime.business_unit.automation import frozen_reason, pause_of
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts import ContractError, from_json, to_dict
from mlops_runtime.contracts.monitor_report import monitor_states
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, LockRow, Outcome
from mlops_runtime.contracts.unit_entries import (
    EndpointEntry,
    FreezeSpec,
    FreezeWindow,
    PauseState,
    PipelineEntry,
    UnitEntry,
)
from mlops_runtime.monitor.archive import Archive
from mlops_runtime.refused_calls import DENIED, Tolerated, refusal
from mlops_runtime.registry.package_approval import RegistryEntry
from mlops_runtime.registry.registry_overview import RegistryOverview, read_registry, waiting_packages
from mlops_runtime.retraining.retraining_start import GuardTable
from mlops_runtime.retraining.run_history import Run, RunHistory
from mlops_runtime.rollout.audit_chain import LOOK_BACK, AuditChain
from mlops_runtime.rollout.deploy_plan import live_pointer
from mlops_runtime.rollout.execution_names import running_executions
from mlops_runtime.rollout.live_fleet import read_status
from mlops_runtime.rollout.rollout_progress import RolloutProgress, RolloutReader
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_stepfunctions import SFNClient

T = TypeVar("T")

_NOT_READABLE = (*DENIED, "NoSuchBucket")
_RUNS = 10  # searched for the newest run that was started
_UNITS_AT_ONCE = 4
_PARTS_AT_ONCE = 3  # per unit; the console reads six units at once, which uses 18 of a client's 20 connections
_ROLLOUTS = (Outcome.PROMOTED, Outcome.ROLLED_BACK, Outcome.FAILED)

NOT_YET_DEPLOYED = "NOT_YET_DEPLOYED"
DELETED = "DELETED"
RECORDED = "RECORDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorOverview:
    """The newest report of a monitor."""

    window_until: str = ""  # end of its window; empty if the report could not be read
    states: Mapping[str, str]  # the state of each monitor
    engine: str | None = None  # counting engine; `None` if the report does not name it
    # analyzer that ran in place of AWS's Model Monitor image; `None` if that image ran, or another engine counted
    analyzer: str | None = None
    verdict: str | None = None  # summary of the report in one sentence
    suppressed: str | None = None  # why drift was not published; `None` if it was not suppressed
    unread: str = ""  # why the report could not be read; empty if it was read


def newest_verdict(s3: "S3Client", *, endpoint: str, artifacts: str, now: datetime) -> MonitorOverview | None:
    """Return the newest report of an endpoint's monitor.

    Returns:
        ``None`` without a report: the endpoint has no monitor, or the monitor has not decided yet.
    """
    try:
        found = Archive(s3, endpoint=endpoint, artifacts=artifacts).newest(now)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in _NOT_READABLE:
            raise
        return None if code == "NoSuchBucket" else MonitorOverview(states={}, unread=code)
    except ContractError as error:
        return MonitorOverview(states={}, unread=str(error))
    if not found:
        return None
    report = found[0]
    return MonitorOverview(
        window_until=report.window_until,
        states={monitor: state.value for monitor, state in monitor_states(report).items()},
        engine=report.engine,
        analyzer=report.analyzer,
        verdict=report.verdict,
        suppressed=report.suppressed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Owner and expiry of a lock; an ``expired`` lock can be taken over."""

    owner: str
    until: str
    expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOverview:
    """Status of one endpoint.

    ``state`` is SageMaker's status, ``NOT_YET_DEPLOYED`` before the first approval, ``DELETED`` after a deletion. On EKS it is
    ``RECORDED``: clusters are only reachable in their own network, so the last rollout's record is shown.
    ``serving_config`` is SageMaker's endpoint config, ``live`` the version that the last rollout recorded; ``is_desired`` is
    whether it is served with the stack's serving spec (``None`` before the first rollout). ``monitor`` is the newest result of its
    monitor (``None`` without one), ``is_monitored`` whether a monitor is deployed.
    ``waiting`` are the newest packages of its group that await a decision; ``None`` if they may not be read.
    ``progress`` is the progress of the rollout with the lock, ``progress_unread`` why it cannot be read. ``rollout`` is the record
    of the newest rollout that changed traffic, which may be older than ``last``.
    """

    endpoint: str
    state: str
    live: LivePointer | None
    serving_config: str | None
    desired: str | None
    is_desired: bool | None
    running: tuple[str, ...]
    lock: Lock | None
    probation_until: str | None
    last: AuditRecord | None
    monitor: MonitorOverview | None = None
    waiting: tuple[str, ...] | None = ()
    progress: RolloutProgress | None = None
    progress_unread: str = ""
    rollout: AuditRecord | None = None
    is_monitored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOverview:
    """Status of one retraining pipeline: running executions, last start, starts on ``day``, new labels since.

    ``last_run`` is the newest started run, with its trigger and outcome. ``refused`` are the requests that the guard has refused
    since, with the time at which it accepts again. ``unread`` is why neither could be read.
    """

    pipeline: str
    running: tuple[str, ...]
    lock: Lock | None
    last_started: str | None
    last_execution: str | None
    day: str | None
    day_count: int
    new_labels: int
    last_run: Run | None = None
    refused: Run | None = None
    unread: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOverview:
    """Status of one unit: pause, freezes, and everything that it has deployed.

    ``registries`` are those without an endpoint, for example in an account that trains for others.
    ``unread`` has the reason for each part that the caller may not read, by ``endpoint <name>``, ``pipeline <name>`` or
    ``registry <group>``.
    """

    unit: str
    pause: PauseState | None
    frozen: str | None
    next_freeze: FreezeWindow | None
    last: AuditRecord | None
    endpoints: tuple[EndpointOverview, ...]
    pipelines: tuple[PipelineOverview, ...]
    owner: str
    cost_center: str
    unread: Mapping[str, str] = field(default_factory=dict)
    registries: tuple[RegistryOverview, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Reads the current status of units."""

    dynamodb: "DynamoDBClient"
    sagemaker: "SageMakerClient"
    stepfunctions: "SFNClient"
    now: datetime  # the cloud's time
    s3: "S3Client | None" = None  # client. Default: monitor reports are not read
    # returns the run history of a pipeline. Default: runs are not read
    history: Callable[[UnitEntry, PipelineEntry], RunHistory] | None = None
    rollouts: RolloutReader | None = None  # reads the progress of rollouts. Default: progress is not read

    def unit(
        self,
        entry: UnitEntry,
        endpoints: Sequence[EndpointEntry],
        pipelines: Sequence[PipelineEntry],
        registries: Sequence[RegistryEntry] = (),
    ) -> UnitOverview:
        """Return the status of a unit; parts that the caller may not read are named in ``unread``.

        Args:
            entry: The unit's entry.
            endpoints: Entries of its endpoints.
            pipelines: Entries of its pipelines.
            registries: Entries of the registries to include. Default: none.

        Raises:
            ClientError: If the caller may not read the unit's own row or any endpoint, or for another error.
        """
        artifacts, audit = entry.artifacts_bucket, entry.audit_bucket
        with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
            pending = {
                f"endpoint {each.endpoint}": pool.submit(self.endpoint, each, artifacts=artifacts, audit=audit)
                for each in endpoints
            }
            pending_pipelines = {
                f"pipeline {each.pipeline}": pool.submit(self.pipeline, each, unit=entry) for each in pipelines
            }
            pending_registries = {
                f"registry {each.group}": pool.submit(read_registry, self.sagemaker, self.s3, unit=entry, registry=each)
                for each in registries
            }
            row = RolloutTable(self.dynamodb, entry.automation_table, entry.unit).read()
            found, denied = _allowed(pending)
            retraining, denied_pipelines = _allowed(pending_pipelines)
            kept, denied_registries = _allowed(pending_registries)
        if denied and not found:
            raise next(iter(denied.values()))
        freeze = FreezeSpec() if entry.freeze is None else entry.freeze
        return UnitOverview(
            unit=entry.unit,
            pause=pause_of(row),
            frozen=frozen_reason(freeze, self.now),
            next_freeze=next((window for window in freeze.windows if window.start > self.now), None),
            last=_last(row),
            endpoints=tuple(found),
            pipelines=tuple(retraining),
            owner=entry.owner,
            cost_center=entry.cost_center,
            unread=_reasons({**denied, **denied_pipelines, **denied_registries}),
            registries=tuple(kept),
        )

    def readable(self, entries: Entries) -> tuple[list[UnitOverview], dict[str, str]]:
        """Return the units that the caller may read, and the reason for each other unit, by its name.

        Raises:
            ClientError: If the caller may read no unit, or for another error.
        """
        units = entries.whole_units()
        with ThreadPoolExecutor(_UNITS_AT_ONCE) as pool:
            found, denied = _allowed({each[0].unit: pool.submit(self.unit, *each) for each in units})
        if denied and not found:
            raise next(iter(denied.values()))
        return found, _reasons(denied)

    def endpoint(
        self, entry: EndpointEntry, *, artifacts: str | None = None, audit: str | None = None
    ) -> EndpointOverview:
        """Return the status of an endpoint.

        Args:
            entry: The endpoint's entry.
            artifacts: The unit's artifacts bucket, which has its monitor's reports. Default: reports are not read.
            audit: The unit's bucket of audit records. Default: records before the last are not read.
        """
        table = RolloutTable(self.dynamodb, entry.rollout_table, entry.endpoint)
        row, running = table.read(), self._running(entry.deploy_machine)
        progress, unread = self._progress(row.owner if row.owner in running else None)
        live = live_pointer(row)
        is_eks = entry.target == "EKS"
        status, config = (None if is_eks else read_status(self.sagemaker, entry.endpoint)) or (None, None)
        missing = NOT_YET_DEPLOYED if live is None else RECORDED if is_eks else DELETED
        probation = None if live is None or live.probation_until is None else live.probation_until
        return EndpointOverview(
            endpoint=entry.endpoint,
            state=missing if status is None else status,
            live=live,
            serving_config=config,
            desired=row.desired,
            is_desired=None if live is None or row.desired is None else live.spec_uri == row.desired,
            running=running,
            lock=None if row.owner is None else self._lock(row.owner, row.lock_until or 0),
            probation_until=probation if probation and datetime.fromisoformat(probation) > self.now else None,
            last=_last(row),
            monitor=None if artifacts is None else self._monitor(entry.endpoint, artifacts),
            waiting=waiting_packages(self.sagemaker, entry.group),
            progress=progress,
            progress_unread=unread,
            rollout=self._last_rollout(table, row, audit),
            is_monitored=entry.is_monitored,
        )

    def pipeline(self, entry: PipelineEntry, *, unit: UnitEntry) -> PipelineOverview:
        """Return the status of a unit's pipeline."""
        runs, unread = self._runs(unit, entry)
        state = GuardTable(dynamodb=self.dynamodb, table=entry.retraining_table, pipeline=entry.pipeline).read()
        return PipelineOverview(
            pipeline=entry.pipeline,
            running=self._running(entry.retrain_machine),
            lock=None if state.owner is None else self._lock(state.owner, state.lock_until),
            last_started=None if state.last_started is None else _iso(state.last_started),
            last_execution=state.last_execution,
            day=state.day,
            day_count=state.day_count,
            new_labels=state.new_labels,
            last_run=next((run for run in runs if not run.is_refused), None),
            refused=runs[0] if runs and runs[0].is_refused else None,
            unread=unread,
        )

    def _progress(self, execution: str | None) -> tuple[RolloutProgress | None, str]:
        if self.rollouts is None or execution is None:
            return None, ""
        try:
            return self.rollouts.read(execution, self.now), ""
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in DENIED:
                raise
            return None, code

    def _last_rollout(self, table: RolloutTable, row: LockRow, audit: str | None) -> AuditRecord | None:
        """Return the newest record of a rollout that changed traffic; later records may be rejections."""
        last = _last(row)
        if last is None or last.outcome in _ROLLOUTS:
            return last
        if self.s3 is None or audit is None:
            return None
        chain = AuditChain(s3=self.s3, bucket=audit, table=table, heads="")
        with Tolerated(*_NOT_READABLE):
            records = chain.newest(row, LOOK_BACK)
            return next((each for each in reversed(records) if each.outcome in _ROLLOUTS), None)
        return None

    def _runs(self, unit: UnitEntry, pipeline: PipelineEntry) -> tuple[tuple[Run, ...], str]:
        if self.history is None:
            return (), ""
        try:
            return self.history(unit, pipeline).runs(last=_RUNS), ""
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in _NOT_READABLE:
                raise
            return (), code

    def _monitor(self, endpoint: str, artifacts: str) -> MonitorOverview | None:
        if self.s3 is None:
            return None
        return newest_verdict(self.s3, endpoint=endpoint, artifacts=artifacts, now=self.now)

    def _running(self, machine: str) -> tuple[str, ...]:
        return tuple(running_executions(self.stepfunctions, machine))

    def _lock(self, owner: str, until: int) -> Lock:
        return Lock(owner=owner, until=_iso(until), expired=until < self.now.timestamp())


def _allowed(pending: Mapping[str, Future[T]]) -> tuple[list[T], dict[str, ClientError]]:
    """Return the results, and by name the errors of those that the caller may not read."""
    found: list[T] = []
    denied: dict[str, ClientError] = {}
    for name, each in pending.items():
        try:
            found.append(each.result())
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIED:
                raise
            denied[name] = error
    return found, denied


def _reasons(denied: Mapping[str, ClientError]) -> dict[str, str]:
    return {name: refusal(error.response["Error"], error.operation_name) for name, error in denied.items()}


def _last(row: LockRow) -> AuditRecord | None:
    return None if row.audit_last is None else from_json(AuditRecord, row.audit_last)


def _iso(epoch: int) -> str:
    return str(to_dict(datetime.fromtimestamp(epoch, tz=UTC)))
