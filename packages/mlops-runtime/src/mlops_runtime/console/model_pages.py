"""Operations for the first pages: list units, read the models of a unit with their states, and read one model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from botocore.exceptions import ClientError

from mlops_runtime.business_unit.deployed_chain import open_chain
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.business_unit.unit_overview import EndpointOverview, Overview, PipelineOverview, UnitOverview
from mlops_runtime.business_unit.unit_words import automation, moment, run_words
from mlops_runtime.console.fleet_latency import FleetLatency, Which, config_fleets, fleet_latencies, slot_fleets
from mlops_runtime.console.http_message import Call, RefusedRequestError
from mlops_runtime.console.model_changes import Change, alarm_events, record_changes, version_number, window_changes
from mlops_runtime.console.model_state import ORDER, ModelState, state_of, state_of_registry
from mlops_runtime.console.served_stint import stint_of
from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer
from mlops_runtime.contracts.unit_entries import EndpointEntry, PipelineEntry
from mlops_runtime.monitor.archive import Archive
from mlops_runtime.refused_calls import DENIED, refusal
from mlops_runtime.registry.model_package import version_of
from mlops_runtime.registry.registry_overview import RegistryOverview
from mlops_runtime.retraining.run_history import RunHistory
from mlops_runtime.rollout.execution_names import version_name
from mlops_runtime.rollout.rollback import package_before
from mlops_runtime.rollout.rollout_progress import RolloutReader
from mlops_runtime.rollout.rollout_words import facts

T = TypeVar("T")

_CHANGES = timedelta(hours=24)
_RECORDS = 20  # newest records read from a chain, for the changes of a day and the previous version


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitNames:
    """A unit with the names of its endpoints and pipelines."""

    unit: str
    endpoints: tuple[str, ...]
    pipelines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """All units by name; ``unread`` is why this version cannot read others, by name. ``now`` is the cloud's time."""

    now: datetime
    units: tuple[UnitNames, ...]
    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model of a unit.

    ``summary`` explains ``state`` in a sentence, from the monitor or the record. ``monitors`` has the state of each monitor in the
    newest window, which ended at ``monitored_until``; empty before the first decision. ``is_monitored`` is whether a monitor is
    deployed. ``retrained`` is when the newest retraining started, and on the
    page of one model its outcome; ``rollout`` is the progress of the running rollout. ``waiting`` are packages that await an
    approval; null if they may not be read. ``digest`` is the SHA-256 of the live model, which is the same in all environments,
    while version numbers differ.
    """

    endpoint: str
    state: ModelState
    summary: str
    version: int | None
    package: str | None
    digest: str | None
    since: str | None
    monitors: Mapping[str, str] = field(default_factory=dict)
    monitored_until: str | None = None
    is_monitored: bool
    pipeline: str | None = None
    retrained: str | None = None
    rollout: str | None = None
    probation_until: str | None = None
    waiting: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRow:
    """The model of a registry without an endpoint in the unit, for example if models are trained for other environments.

    ``version`` is the newest released version, else the newest approved one; ``digest`` is the SHA-256 of its model, and
    ``since`` the time of the release or approval. ``approved`` and ``released`` are these versions, ``<group>/<number>``, or null.
    ``source`` is the environment whose releases it takes, null if its models are trained here. ``summary`` explains ``state``;
    for ``retrained`` and ``waiting`` see ``ModelRow``.
    """

    group: str
    state: ModelState
    summary: str
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
    """The models of a unit, worst state first. ``automation`` is ``runs``, or why it is stopped; then ``is_stopped`` is true.

    ``sequence`` is that of the unit's newest
    audit record, which a pause request refers to. ``unread`` is why the caller may not read other models, by
    ``endpoint <name>``, ``pipeline <name>``, ``registry <group>`` or ``releases of <group>``.
    ``registries`` are those without an endpoint.
    """

    now: datetime
    unit: str
    owner: str
    cost_center: str
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
    """A version that serves or served: ``package`` is its ARN, ``config`` the name of its endpoint config or slot version."""

    version: int | None
    package: str | None
    config: str
    since: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFact:
    """One line about a running rollout, as in ``mlops status``: ``name`` is ``step``, ``left``, ``answers``..."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPage:
    """One model. ``cause`` is the last verdict, of the monitor or the rollout.

    ``before_did`` describes in sentences how the previous version performed while it served: when, the verdict of its rollout, and
    the last result of its monitor. ``owner`` and ``cost_center`` are those of the unit.
    ``sequence`` is that of the newest audit record, ``unit_sequence`` that of the unit's own chain; change requests refer to them.
    ``changes`` are those of the last 24 hours, newest first; ``unread`` is why some are not shown. ``latencies`` are those of the
    running rollout's fleets. ``overview`` and ``retraining`` are the endpoint and its pipeline as printed by
    ``mlops status --json``; ``retraining`` is null without a pipeline.
    """

    now: datetime
    unit: str
    owner: str
    cost_center: str
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
    alarms = unread.read("alarms", lambda: list(alarm_events(call.cloud.client("cloudwatch"), own.endpoint, since)))
    changes = [*record_changes([*records, *pauses], since), *window_changes(windows), *alarms]
    return EndpointPage(
        now=call.now,
        unit=entry.unit,
        owner=entry.owner,
        cost_center=entry.cost_center,
        automation=automation(found, call.now),
        is_stopped=_is_paused(found) or found.frozen is not None,
        is_paused=_is_paused(found),
        row=row,
        cause=row.summary,
        serves=None if overview.live is None else _served(overview.live),
        before=before,
        before_did=_before_did(call.now, archive, before, records, unread),
        rollout=()
        if overview.progress is None
        else tuple(
            RolloutFact(name=name, text=text) for name, text in facts(overview.progress, own.endpoint, call.now)
        ),
        latencies=tuple(unread.read("latencies", lambda: _latencies(call, own, overview))),
        changes=tuple(sorted(changes, key=lambda change: change.at, reverse=True)),
        sequence=head.audit_sequence,
        unit_sequence=0 if found.last is None else found.last.sequence,
        unread=(*(f"{name}: {reason}" for name, reason in found.unread.items()), *unread.reasons),
        overview=overview,
        retraining=next(iter(found.pipelines), None),
    )


class _Unread:
    """Collects the parts of a page that the caller or this version cannot read; the page names them and shows the rest."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def read(self, what: str, look: Callable[[], list[T]]) -> list[T]:
        """Return the result of ``look``; if it cannot be read, add the reason to ``reasons`` and return an empty list."""
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
    """Return the reader of a unit's status; ``runs`` includes the last retraining, which takes several calls per pipeline."""
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
    """Return the pipelines by endpoint."""
    return {each.endpoint or each.pipeline: each.pipeline for each in entries}


def _is_paused(found: UnitOverview) -> bool:
    return found.pause is not None and found.pause.is_paused


def _row(
    found: EndpointOverview, pipeline: str | None, pipelines: tuple[PipelineOverview, ...], now: datetime
) -> ModelRow:
    state, summary = state_of(found)
    live, monitor = found.live, found.monitor
    return ModelRow(
        endpoint=found.endpoint,
        state=state,
        summary=summary,
        version=None if live is None else version_number(live.model_package_arn),
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
    state, summary = state_of_registry(found)
    approved, released = found.approved, found.released
    version, digest, since = None, None, None
    if approved is not None:
        version, digest, since = approved.version, approved.model_sha256, approved.approved_at
    if released is not None:
        version, digest, since = released.version, released.model_sha256, released.released_at
    return RegistryRow(
        group=found.group,
        state=state,
        summary=summary,
        version=version_number(version),
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
    """Return the outcome of a pipeline's newest retraining, or its start if runs were not read."""
    found = next((each for each in pipelines if each.pipeline == pipeline), None)
    if found is None:
        return None
    if found.last_run is not None:
        return run_words(found.last_run, now)
    return "never" if found.last_started is None else f"started {moment(found.last_started, now)}"


def _served(live: LivePointer) -> ServedVersion:
    return ServedVersion(
        version=version_number(live.model_package_arn),
        package=live.model_package_arn,
        config=live.config,
        since=live.since,
    )


def _before(live: LivePointer | None, records: list[AuditRecord]) -> ServedVersion | None:
    """Return the version that a rollback would restore."""
    if live is None or live.previous is None:
        return None
    package = package_before(live, records)
    return ServedVersion(version=version_number(package), package=package, config=live.previous)


def _latencies(call: Call, entry: EndpointEntry, found: EndpointOverview) -> list[FleetLatency]:
    """Return the latencies of a rollout's fleets."""
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
    """Describe how the previous version performed, with the newest monitor window that ended while it served."""
    stint = None if before is None else stint_of(before.package, records)
    if stint is None:
        return ()
    until = now if stint.ended is None else datetime.fromisoformat(stint.ended.at)
    found = unread.read("monitor reports of the version before", lambda: archive.newest(until))
    return stint.sentences(next((each.verdict for each in found if stint.has(each.window_until)), None))


def _windows(archive: Archive, now: datetime, since: datetime) -> list[MonitorReport]:
    return [each for each in archive.newest(now, most=24) if datetime.fromisoformat(each.window_until) >= since]
