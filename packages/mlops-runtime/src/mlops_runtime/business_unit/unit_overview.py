"""What a unit has deployed and what it does now: tables, SageMaker, state machines, and what its monitors found."""

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
from mlops_runtime.refused_calls import DENIED, refusal
from mlops_runtime.registry.package_approval import RegistryEntry
from mlops_runtime.registry.registry_overview import RegistryOverview, read_registry, waiting_packages
from mlops_runtime.retraining.retraining_start import GuardTable
from mlops_runtime.retraining.run_history import Run, RunHistory
from mlops_runtime.rollout.audit_chain import LOOK_BACK, AuditChain
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
_RUNS = 10  # among which the newest that has begun is found
_UNITS_AT_ONCE = 4
_PARTS_AT_ONCE = 3  # of a unit; the console reads six units at once, which is 18 of the 20 connections of a client
_ROLLOUTS = (Outcome.PROMOTED, Outcome.ROLLED_BACK, Outcome.FAILED)

NOT_YET_DEPLOYED = "NOT_YET_DEPLOYED"
GONE = "GONE"
RECORDED = "RECORDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorOverview:
    """The newest report of a monitor.

    Args:
        window_until: When its window ended; empty where it was not read.
        states: The state of each monitor.
        engine: What counted; None where the report does not say.
        analyzer: What ran in place of AWS's image of Model Monitor; None where that ran, or another engine counted.
        verdict: The report in a sentence.
        suppressed: Why nothing was published as drift; None where it was.
        unread: Why the report could not be read; empty where it was.
    """

    window_until: str = ""
    states: Mapping[str, str]
    engine: str | None = None
    analyzer: str | None = None
    verdict: str | None = None
    suppressed: str | None = None
    unread: str = ""


def newest_verdict(s3: "S3Client", *, endpoint: str, artifacts: str, now: datetime) -> MonitorOverview | None:
    """Return what the newest report says.

    Returns:
        None where there is no report: nothing watches the endpoint, or has decided yet.
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
    """Who holds a lock until when; one that is ``expired`` may be taken over."""

    owner: str
    until: str
    expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOverview:
    """One endpoint: ``state`` is SageMaker's status, ``NOT_YET_DEPLOYED`` before the first approval, ``GONE`` after a deletion.

    On EKS it is ``RECORDED``: a cluster is reachable only in its own network, so the last rollout's record is shown.
    ``serving_config`` is what SageMaker serves, ``live`` what the last rollout wrote down; ``is_desired`` says whether the live one
    is served as the stack asks (None before anything is). ``monitor`` is what its monitor last found (None where nothing was
    decided), ``is_monitored`` whether one is deployed (None where its stack did not say so).
    ``waiting`` are the newest packages of its group that a person has yet to decide on; None where they may not be read.
    ``progress`` is where the rollout is that holds the lock, ``progress_unread`` why that is not known. ``rollout`` is the record
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
    is_monitored: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOverview:
    """One retraining pipeline: what runs, when it last started, how often on ``day``, how many labels came since then.

    ``last_run`` is the newest run that has begun, with its trigger and outcome. ``refused`` is what the guard has refused since,
    with the time at which it accepts again. ``unread`` is why neither could be read.
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
    """One unit: paused by whom, frozen by what, the next freeze, and everything that it has deployed.

    ``owner`` answers for it and ``cost_center`` pays; None where its stack is of a version that did not publish them.
    ``registries`` are those of whose models no endpoint serves any, as in an account that trains for others.
    ``unread`` says why the caller may not read others, by ``endpoint <name>``, ``pipeline <name>`` or ``registry <group>``.
    """

    unit: str
    pause: PauseState | None
    frozen: str | None
    next_freeze: FreezeWindow | None
    last: AuditRecord | None
    endpoints: tuple[EndpointOverview, ...]
    pipelines: tuple[PipelineOverview, ...]
    owner: str | None = None
    cost_center: str | None = None
    unread: Mapping[str, str] = field(default_factory=dict)
    registries: tuple[RegistryOverview, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Reads a unit as it is now.

    Args:
        dynamodb: Client.
        sagemaker: Client.
        stepfunctions: Client.
        now: The time in the cloud.
        s3: Client. Default: reports of monitors are not read.
        history: Returns the runs of a pipeline. Default: they are not read.
        rollouts: Reads where a rollout is. Default: that is not read.
    """

    dynamodb: "DynamoDBClient"
    sagemaker: "SageMakerClient"
    stepfunctions: "SFNClient"
    now: datetime
    s3: "S3Client | None" = None
    history: Callable[[UnitEntry, PipelineEntry], RunHistory] | None = None
    rollouts: RolloutReader | None = None

    def unit(
        self,
        entry: UnitEntry,
        endpoints: Sequence[EndpointEntry],
        pipelines: Sequence[PipelineEntry],
        registries: Sequence[RegistryEntry] = (),
    ) -> UnitOverview:
        """Return the unit of an entry with what it has deployed; what the caller may not read is named.

        Args:
            entry: The unit's.
            endpoints: Its endpoints.
            pipelines: Its pipelines.
            registries: Those of its registries that are shown. Default: none.

        Raises:
            ClientError: If the caller may not read the unit's own row, or none of the endpoints, or for another error.
        """
        artifacts, audit = entry.artifacts_bucket, entry.audit_bucket
        with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
            asked = {
                f"endpoint {each.endpoint}": pool.submit(self.endpoint, each, artifacts=artifacts, audit=audit)
                for each in endpoints
            }
            asked_of_pipelines = {
                f"pipeline {each.pipeline}": pool.submit(self.pipeline, each, unit=entry) for each in pipelines
            }
            asked_of_registries = {
                f"registry {each.group}": pool.submit(read_registry, self.sagemaker, self.s3, unit=entry, registry=each)
                for each in registries
            }
            row = RolloutTable(self.dynamodb, entry.automation_table, entry.unit).read()
            found, denied = _allowed(asked)
            retraining, denied_pipelines = _allowed(asked_of_pipelines)
            kept, denied_registries = _allowed(asked_of_registries)
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
        """Return the units that the caller may read, and why not by the name of each of the others.

        Args:
            entries: What is deployed.

        Raises:
            ClientError: If the caller may read none of them, or for another error.
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
        """Return the endpoint of an entry.

        Args:
            entry: The endpoint's.
            artifacts: The unit's bucket of artifacts, where reports of its monitor lie. Default: they are not read.
            audit: The unit's bucket of records. Default: records before the last are not read.
        """
        table = RolloutTable(self.dynamodb, entry.rollout_table, entry.endpoint)
        row, running = table.read(), self._running(entry.deploy_machine)
        progress, unread = self._progress(row.owner if row.owner in running else None)
        live = None if row.live is None else from_json(LivePointer, row.live)
        is_eks = entry.target == "EKS"
        status, config = (None if is_eks else read_status(self.sagemaker, entry.endpoint)) or (None, None)
        missing = NOT_YET_DEPLOYED if live is None else RECORDED if is_eks else GONE
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
        """Return the pipeline of an entry of a unit."""
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
        """Return the newest record of a rollout that changed traffic; rejections of other models may have come since."""
        last = _last(row)
        if last is None or last.outcome in _ROLLOUTS:
            return last
        if self.s3 is None or audit is None:
            return None
        chain = AuditChain(s3=self.s3, bucket=audit, table=table, heads="")
        try:
            records = chain.newest(row, LOOK_BACK)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NOT_READABLE:
                raise
            return None
        return next((each for each in reversed(records) if each.outcome in _ROLLOUTS), None)

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
        pages = self.stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=machine, statusFilter="RUNNING"
        )
        return tuple(execution["executionArn"] for page in pages for execution in page["executions"])

    def _lock(self, owner: str, until: int) -> Lock:
        return Lock(owner=owner, until=_iso(until), expired=until < self.now.timestamp())


def _allowed(asked: Mapping[str, Future[T]]) -> tuple[list[T], dict[str, ClientError]]:
    """Return what was read, and by name what the caller may not read."""
    found: list[T] = []
    denied: dict[str, ClientError] = {}
    for name, each in asked.items():
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
