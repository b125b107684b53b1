"""What the first two pages show: units, the models of a unit with their states, and one model."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from botocore.exceptions import ClientError

from mlops_runtime.business_unit.deployed_chain import open_chain
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.business_unit.unit_overview import EndpointOverview, Overview, PipelineOverview, UnitOverview
from mlops_runtime.business_unit.unit_words import automation, moment, run_words
from mlops_runtime.console.alarm_changes import alarm_changes
from mlops_runtime.console.fleet_latency import FleetLatency, Which, config_fleets, fleet_latencies, slot_fleets
from mlops_runtime.console.http_message import Call, RefusedRequestError
from mlops_runtime.console.model_state import ORDER, ModelState, state_of, state_of_registry
from mlops_runtime.console.served_stint import stint_of
from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import MonitorReport, monitor_states
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, Outcome
from mlops_runtime.contracts.unit_entries import EndpointEntry, PipelineEntry
from mlops_runtime.monitor.archive import Archive
from mlops_runtime.refused_calls import DENIED, refusal
from mlops_runtime.registry.package_approval import person_of
from mlops_runtime.registry.registry_overview import RegistryOverview, version_of
from mlops_runtime.retraining.run_history import RunHistory
from mlops_runtime.rollout.execution_names import version_name
from mlops_runtime.rollout.rollback import package_before
from mlops_runtime.rollout.rollout_progress import RolloutReader
from mlops_runtime.rollout.rollout_words import facts

T = TypeVar("T")

_CHANGES = timedelta(hours=24)
_RECORDS = 20  # newest ones of a chain among which those of a day are, and the version before
_BAD = (Outcome.ROLLED_BACK, Outcome.FAILED, Outcome.REFUSED, Outcome.REJECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitNames:
    """A unit with the names of its endpoints and pipelines."""

    unit: str
    endpoints: tuple[str, ...]
    pipelines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Every unit by name; ``unread`` says by name why others cannot be read by this version. ``now`` is the time in the cloud."""

    now: datetime
    units: tuple[UnitNames, ...]
    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model of a unit.

    ``says`` explains ``state`` in a sentence, in the words of the monitor or the record. ``monitors`` has the state of each
    monitor in the newest window, which ended at ``monitored_until``; empty where nothing was decided. ``is_monitored`` says whether
    a monitor is deployed, null where the endpoint's stack did not say so. ``retrained`` is when the newest
    retraining started, and on the page of one model what came of it; ``rollout`` is where the one that runs is. ``waiting`` are
    packages that wait for an approval; null where they may not be read. ``digest`` is the SHA-256 of the model that serves: in
    other environments the same model has other versions and this digest.
    """

    endpoint: str
    state: ModelState
    says: str
    version: int | None
    package: str | None
    digest: str | None
    since: str | None
    monitors: Mapping[str, str] = field(default_factory=dict)
    monitored_until: str | None = None
    is_monitored: bool | None = None
    pipeline: str | None = None
    retrained: str | None = None
    rollout: str | None = None
    probation_until: str | None = None
    waiting: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRow:
    """The model of a registry for which the unit has no endpoint, as where models are trained for other environments.

    ``version`` is the newest that was released, else the newest that is approved; ``digest`` is the SHA-256 of its model, and
    ``since`` when that was. ``approved`` and ``released`` name these versions, ``<group>/<number>``, null where they do not exist.
    ``source`` is the environment whose releases it takes, null where its models are trained here. ``says`` explains ``state``;
    ``retrained`` and ``waiting`` are as of a model that serves.
    """

    group: str
    state: ModelState
    says: str
    version: int | None = None
    digest: str | None = None
    since: str | None = None
    approved: str | None = None
    released: str | None = None
    source: str | None = None
    pipeline: str | None = None
    retrained: str | None = None
    waiting: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPage:
    """The models of a unit, the worst first. ``automation`` says whether it runs, or what stops it; then ``is_stopped``.

    ``owner`` answers for the unit and ``cost_center`` pays for it; null where its stack has not published them.
    ``sequence`` is of the unit's newest audit record: what a pause names as seen. ``unread`` says why the caller may not read
    others of its models, by ``endpoint <name>``, ``pipeline <name>``, ``registry <group>`` or ``releases of <group>``.
    ``registries`` are those for which it has no endpoint.
    """

    now: datetime
    unit: str
    owner: str | None
    cost_center: str | None
    sequence: int
    automation: str
    is_stopped: bool
    is_paused: bool
    next_freeze: str | None
    models: tuple[ModelRow, ...]
    pipelines: tuple[PipelineOverview, ...]
    unread: Mapping[str, str] = field(default_factory=dict)
    registries: tuple[RegistryRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """A version that serves, or did: ``package`` is its ARN, ``config`` what SageMaker or the cluster calls it."""

    version: int | None
    package: str | None
    config: str
    since: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that happened.

    ``kind`` is an outcome of the audit log in lower case, ``window`` of a monitor, or ``alarm`` and ``alarm ended``.
    """

    at: str
    kind: str
    says: str
    who: str | None = None
    is_bad: bool = False
    sequence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFact:
    """One line about a rollout that runs, as ``mlops status`` prints it: ``name`` is ``step``, ``left``, ``answers``..."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPage:
    """One model. ``cause`` is the last verdict in its own words, of the monitor or of the rollout.

    ``before_did`` says in sentences how the version before did while it served: when, the verdict of its rollout, and what its
    monitor found last. ``owner`` and ``cost_center`` are of the unit.
    ``sequence`` is of the newest audit record, ``unit_sequence`` of the unit's own: what a change names as seen. ``changes`` are of
    the last 24 hours, newest first; ``unread`` says why some are not shown. ``latencies`` are of the fleets of the rollout that
    runs. ``overview`` and ``retraining`` are what
    ``mlops status --json`` prints of the endpoint and of its pipeline, null where no pipeline retrains it.
    """

    now: datetime
    unit: str
    owner: str | None
    cost_center: str | None
    automation: str
    is_stopped: bool
    is_paused: bool
    row: ModelRow
    cause: str
    serves: ServedVersion | None
    before: ServedVersion | None
    before_did: tuple[str, ...]
    rollout: tuple[RolloutFact, ...]
    latencies: tuple[FleetLatency, ...]
    changes: tuple[Change, ...]
    sequence: int
    unit_sequence: int
    unread: tuple[str, ...]
    overview: EndpointOverview
    retraining: PipelineOverview | None


def units(call: Call) -> Units:
    """List the units by name."""
    by_unit, unread = Entries(ssm=call.cloud.client("ssm")).by_unit()
    return Units(
        now=call.now,
        units=tuple(
            UnitNames(
                unit=unit,
                endpoints=tuple(each.endpoint for each in found if isinstance(each, EndpointEntry)),
                pipelines=tuple(each.pipeline for each in found if isinstance(each, PipelineEntry)),
            )
            for unit, found in by_unit.items()
        ),
        unread=unread,
    )


def unit(call: Call) -> UnitPage:
    """Return the models of a unit."""
    entry, endpoints, pipelines, registries = Entries(ssm=call.cloud.client("ssm")).whole_unit(call.names["unit"])
    found = _overview(call).unit(entry, endpoints, pipelines, registries)
    of, trained = _pipelines(pipelines), {each.group: each.pipeline for each in pipelines}
    rows = [_row(each, of.get(each.endpoint), found.pipelines, call.now) for each in found.endpoints]
    return UnitPage(
        now=call.now,
        unit=entry.unit,
        owner=entry.owner,
        cost_center=entry.cost_center,
        sequence=0 if found.last is None else found.last.sequence,
        automation=automation(found, call.now),
        is_stopped=_is_paused(found) or found.frozen is not None,
        is_paused=_is_paused(found),
        next_freeze=None if found.next_freeze is None else found.next_freeze.start.isoformat(),
        models=tuple(sorted(rows, key=lambda row: (ORDER.index(row.state), row.endpoint))),
        pipelines=found.pipelines,
        unread={
            **found.unread,
            **{f"releases of {each.group}": each.unread for each in found.registries if each.unread},
        },
        registries=tuple(
            _registry_row(each, trained.get(each.group), found.pipelines, call.now) for each in found.registries
        ),
    )


def endpoint(call: Call) -> EndpointPage:
    """Return one model."""
    entry, endpoints, pipelines, _ = Entries(ssm=call.cloud.client("ssm")).whole_unit(call.names["unit"])
    own = next((each for each in endpoints if each.endpoint == call.names["endpoint"]), None)
    if own is None:
        names = ", ".join(each.endpoint for each in endpoints) or "none"
        raise RefusedRequestError(404, f"unit {entry.unit} has no endpoint {call.names['endpoint']!r}; it has {names}")
    pipeline = _pipelines(pipelines).get(own.endpoint)
    found = _overview(call, runs=True).unit(entry, [own], [each for each in pipelines if each.pipeline == pipeline])
    (overview,) = found.endpoints
    row = _row(overview, pipeline, found.pipelines, call.now)
    since, unread = call.now - _CHANGES, _Unread()
    archive = Archive(call.cloud.client("s3"), endpoint=own.endpoint, artifacts=entry.artifacts_bucket)
    chain, of_unit = open_chain(call.cloud.client, own), open_chain(call.cloud.client, entry)
    head = chain.table.read()
    records = unread.read("records", lambda: chain.newest(head, _RECORDS))
    pauses = unread.read("pauses", lambda: of_unit.newest(of_unit.table.read(), _RECORDS))
    windows = unread.read("windows of the monitor", lambda: _windows(archive, call.now, since))
    before = _before(overview.live, records)
    alarms = unread.read("alarms", lambda: list(_alarms(call, own.endpoint, since)))
    changes = [*_of_records([*records, *pauses], since), *_of_windows(windows), *alarms]
    return EndpointPage(
        now=call.now,
        unit=entry.unit,
        owner=entry.owner,
        cost_center=entry.cost_center,
        automation=automation(found, call.now),
        is_stopped=_is_paused(found) or found.frozen is not None,
        is_paused=_is_paused(found),
        row=row,
        cause=row.says,
        serves=None if overview.live is None else _served(overview.live),
        before=before,
        before_did=_before_did(call.now, archive, before, records, unread),
        rollout=()
        if overview.progress is None
        else tuple(
            RolloutFact(name=name, text=text) for name, text in facts(overview.progress, own.endpoint, call.now)
        ),
        latencies=tuple(unread.read("time of answers", lambda: _latencies(call, own, overview))),
        changes=tuple(sorted(changes, key=lambda change: change.at, reverse=True)),
        sequence=head.audit_sequence,
        unit_sequence=0 if found.last is None else found.last.sequence,
        unread=(*(f"{name}: {reason}" for name, reason in found.unread.items()), *unread.reasons),
        overview=overview,
        retraining=next(iter(found.pipelines), None),
    )


class _Unread:
    """Parts of a page that the caller may not read, or that this version cannot; the page names them and shows the rest."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def read(self, what: str, look: Callable[[], list[T]]) -> list[T]:
        """Return what is found; nothing, and the reason among ``reasons``, where it cannot be read."""
        try:
            return look()
        except ContractError as error:
            self.reasons.append(f"{what}: {error}")
        except ClientError as error:
            if error.response["Error"]["Code"] not in (*DENIED, "NoSuchBucket"):
                raise
            self.reasons.append(f"{what}: {refusal(error.response['Error'], error.operation_name)}")
        return []


def _overview(call: Call, *, runs: bool = False) -> Overview:
    """Return what reads a unit; with runs what came of the last retraining too, which takes several calls for each of them."""
    client = call.cloud.client
    return Overview(
        dynamodb=client("dynamodb"),
        sagemaker=client("sagemaker"),
        stepfunctions=client("stepfunctions"),
        s3=client("s3"),
        now=call.now,
        history=(lambda owner, pipeline: RunHistory(client=client, unit=owner, pipeline=pipeline)) if runs else None,
        rollouts=RolloutReader(stepfunctions=client("stepfunctions")),
    )


def _pipelines(entries: list[PipelineEntry]) -> dict[str, str]:
    """Return the pipeline of each endpoint that one retrains."""
    return {each.endpoint or each.pipeline: each.pipeline for each in entries}


def _is_paused(found: UnitOverview) -> bool:
    return found.pause is not None and found.pause.is_paused


def _row(
    found: EndpointOverview, pipeline: str | None, pipelines: tuple[PipelineOverview, ...], now: datetime
) -> ModelRow:
    state, says = state_of(found)
    live, monitor = found.live, found.monitor
    return ModelRow(
        endpoint=found.endpoint,
        state=state,
        says=says,
        version=None if live is None else _number(live.model_package_arn),
        package=None if live is None else live.model_package_arn,
        digest=None if live is None else live.model_sha256,
        since=None if live is None else live.since,
        monitors={} if monitor is None else monitor.states,
        monitored_until=None if monitor is None else monitor.window_until or None,
        is_monitored=found.is_monitored,
        pipeline=pipeline,
        retrained=_retrained(pipeline, pipelines, now),
        rollout=None
        if found.progress is None
        else "; ".join(text for _, text in facts(found.progress, found.endpoint, now)),
        probation_until=found.probation_until,
        waiting=None if found.waiting is None else tuple(map(version_of, found.waiting)),
    )


def _registry_row(
    found: RegistryOverview, pipeline: str | None, pipelines: tuple[PipelineOverview, ...], now: datetime
) -> RegistryRow:
    state, says = state_of_registry(found)
    approved, released = found.approved, found.released
    version, digest, since = None, None, None
    if approved is not None:
        version, digest, since = approved.version, approved.model_sha256, approved.approved_at
    if released is not None:
        version, digest, since = released.version, released.model_sha256, released.released_at
    return RegistryRow(
        group=found.group,
        state=state,
        says=says,
        version=_number(version),
        digest=digest,
        since=since,
        approved=None if approved is None else approved.version,
        released=None if released is None else released.version,
        source=found.source,
        pipeline=pipeline,
        retrained=_retrained(pipeline, pipelines, now),
        waiting=None if found.waiting is None else tuple(map(version_of, found.waiting)),
    )


def _retrained(pipeline: str | None, pipelines: tuple[PipelineOverview, ...], now: datetime) -> str | None:
    """Return what came of a pipeline's newest retraining, or when it started where that was not read."""
    found = next((each for each in pipelines if each.pipeline == pipeline), None)
    if found is None:
        return None
    if found.last_run is not None:
        return run_words(found.last_run, now)
    return "never" if found.last_started is None else f"started {moment(found.last_started, now)}"


def _number(package: str | None) -> int | None:
    number = "" if package is None else package.rpartition("/")[2]
    return int(number) if number.isdecimal() else None


def _served(live: LivePointer) -> ServedVersion:
    return ServedVersion(
        version=_number(live.model_package_arn), package=live.model_package_arn, config=live.config, since=live.since
    )


def _before(live: LivePointer | None, records: list[AuditRecord]) -> ServedVersion | None:
    """Return the version that a rollback returns to."""
    if live is None or live.previous is None:
        return None
    package = package_before(live, records)
    return ServedVersion(version=_number(package), package=package, config=live.previous)


def _of_records(records: list[AuditRecord], since: datetime) -> Iterator[Change]:
    for each in records:
        if datetime.fromisoformat(each.at) >= since:
            version = _number(each.candidate_package or each.serving_package)
            which = "" if version is None else f" version {version}"
            yield Change(
                at=each.at,
                kind=each.outcome.value.lower(),
                says=f"{each.outcome.value}{which}{f': {each.reason}' if each.reason else ''}",
                who=person_of(each.requested_by),
                is_bad=each.outcome in _BAD,
                sequence=each.sequence,
            )


def _latencies(call: Call, entry: EndpointEntry, found: EndpointOverview) -> list[FleetLatency]:
    """Return how long the answers of the fleets of a rollout take."""
    if found.progress is None or found.live is None:
        return []
    configs: dict[Which, str] = {
        "new": version_name(entry.endpoint, found.progress.execution),
        "old": found.live.config,
    }
    cloudwatch = call.cloud.client("cloudwatch")
    if entry.target == "EKS":
        return list(fleet_latencies(cloudwatch, slot_fleets(found.progress, configs=configs), now=call.now))
    described = call.cloud.client("sagemaker").describe_endpoint_config(EndpointConfigName=found.live.config)
    variant = described["ProductionVariants"][0]["VariantName"]
    fleets = config_fleets(entry.endpoint, variant=variant, configs=configs)
    return list(fleet_latencies(cloudwatch, fleets, now=call.now))


def _before_did(
    now: datetime, archive: Archive, before: ServedVersion | None, records: list[AuditRecord], unread: _Unread
) -> tuple[str, ...]:
    """Return how the version before did, with the newest window of the monitor that ended while it served."""
    stint = None if before is None else stint_of(before.package, records)
    if stint is None:
        return ()
    until = now if stint.ended is None else datetime.fromisoformat(stint.ended.at)
    found = unread.read("what the monitor found of the version before", lambda: archive.newest(until))
    return stint.says(next((each.verdict for each in found if stint.has(each.window_until)), None))


def _windows(archive: Archive, now: datetime, since: datetime) -> list[MonitorReport]:
    return [each for each in archive.newest(now, most=24) if datetime.fromisoformat(each.window_until) >= since]


def _alarms(call: Call, endpoint: str, since: datetime) -> Iterator[Change]:
    for at, is_fired, says in alarm_changes(call.cloud.client("cloudwatch"), endpoint, since):
        kind = "alarm" if is_fired else "alarm ended"
        yield Change(at=f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", kind=kind, says=says, is_bad=is_fired)


def _of_windows(reports: list[MonitorReport]) -> Iterator[Change]:
    for each in reports:
        is_bad = MonitorState.VIOLATION in monitor_states(each).values()
        yield Change(at=each.window_until, kind="window", says=each.verdict, is_bad=is_bad)
