"""Status of a unit as text, for the command and the console: automation, endpoints with rollouts and monitors, pipelines."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from textwrap import shorten

from mlops_runtime.business_unit.unit_overview import (
    EndpointOverview,
    Lock,
    MonitorOverview,
    PipelineOverview,
    UnitOverview,
)
from mlops_runtime.contracts.rollout import AuditRecord
from mlops_runtime.registry.model_package import version_of
from mlops_runtime.registry.package_approval import person_of
from mlops_runtime.registry.registry_overview import RegistryOverview
from mlops_runtime.retraining.run_history import Run
from mlops_runtime.rollout.rollout_progress import RolloutProgress
from mlops_runtime.rollout.rollout_words import facts

_REASON = 200  # characters of a reason, which `mlops runs show` prints completely
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))


def unit_lines(unit: UnitOverview, now: datetime) -> Iterator[str]:
    """Yield the lines of a unit's status."""
    yield f"\n{unit.unit}"
    yield f"  automation  {automation(unit, now)}"
    if unit.next_freeze is not None:
        freeze = unit.next_freeze
        yield f"  freeze      {freeze.name!r} from {moment(freeze.start, now)}"
    if unit.last is not None:
        yield f"  record      {_record(unit.last, now)}"
    for endpoint in unit.endpoints:
        yield from _endpoint_lines(endpoint, now)
    for registry in unit.registries:
        yield from _registry_lines(registry, now)
    for pipeline in unit.pipelines:
        yield from _pipeline_lines(pipeline, now)
    for name, reason in unit.unread.items():
        yield f"  {name}"
        yield f"    not shown {reason}"


def automation(unit: UnitOverview, now: datetime) -> str:
    """Return whether a unit's automation runs, or why it is stopped."""
    reasons = []
    if unit.pause is not None and unit.pause.is_paused:
        pause = unit.pause
        reasons.append(f"paused since {moment(pause.at, now)} by {person_of(pause.by)}: {pause.reason}")
    if unit.frozen is not None:
        reasons.append(unit.frozen)
    return f"stopped: {'; '.join(reasons)}" if reasons else "runs"


def _endpoint_lines(endpoint: EndpointOverview, now: datetime) -> Iterator[str]:
    yield f"  endpoint {endpoint.endpoint}: {endpoint.state}"
    live = endpoint.live
    if live is not None:
        version = live.model_package_arn.rpartition("/")[2]
        yield f"    live      version {version} in {live.config} since {moment(live.since, now)}"
        if endpoint.serving_config not in (None, live.config):
            yield f"    serving   {endpoint.serving_config}, which the last rollout did not record"
    if endpoint.desired is None:
        yield "    desired   no serving spec is stored yet"
    else:
        how = {None: "at the first approval", True: "as live", False: "not served yet"}[endpoint.is_desired]
        yield f"    desired   {endpoint.desired.rpartition('/')[2].removesuffix('.json')}, {how}"
    if endpoint.monitor is not None:
        yield f"    monitor   {monitor_words(endpoint.monitor, now)}"
    elif not endpoint.is_monitored:
        yield "    monitor   none is deployed"
    yield from _waiting_lines(endpoint.waiting)
    yield from _rollout_lines(endpoint, now)


def _waiting_lines(waiting: tuple[str, ...] | None) -> Iterator[str]:
    if waiting is None:
        yield "    waiting   not shown: the caller has no permission to list packages"
    elif waiting:
        versions = ", ".join(map(version_of, waiting))
        yield f"    waiting   for an approval: {versions}; see: mlops models show {versions.partition(',')[0]}"


def _registry_lines(registry: RegistryOverview, now: datetime) -> Iterator[str]:
    """Yield the approved and released versions of a registry without an endpoint."""
    yield f"  registry {registry.group}"
    if registry.approved is None:
        yield "    approved  nothing yet"
    else:
        yield f"    approved  {registry.approved.version} {moment(registry.approved.approved_at, now)}"
    if registry.unread:
        yield f"    released  not shown: {registry.unread}"
    elif registry.released is not None:
        yield f"    released  {registry.released.version} {moment(registry.released.released_at, now)}"
    elif registry.is_releasing:
        yield "    released  nothing yet"
    yield from _waiting_lines(registry.waiting)


def _rollout_lines(endpoint: EndpointOverview, now: datetime) -> Iterator[str]:
    """Yield the running rollout with its progress, and the outcome of the last one."""
    yield from _running("rollout", endpoint.running, endpoint.lock, now)
    if endpoint.progress is not None:
        yield from _progress_lines(endpoint.progress, endpoint.endpoint, now)
    elif endpoint.progress_unread:
        yield f"    step      not shown: {endpoint.progress_unread}"
    if endpoint.probation_until is not None:
        yield f"    probation until {moment(endpoint.probation_until, now)}"
    if endpoint.last is not None:
        yield f"    record    {_record(endpoint.last, now)}"
    rollout = endpoint.rollout
    if rollout is None or rollout.verdict is None:
        return
    if rollout != endpoint.last:
        yield f"    rollout   {_record(rollout, now)}"
    if rollout.verdict.sentence not in rollout.reason:
        yield f"    verdict   {rollout.verdict.sentence}"


def _progress_lines(progress: RolloutProgress, endpoint: str, now: datetime) -> Iterator[str]:
    for number, (name, text) in enumerate(facts(progress, endpoint, now)):
        since = f"; since {moment(progress.since, now)}" if number == 0 else ""
        yield f"    {name:<10}{text}{since}"


def monitor_words(monitor: MonitorOverview, now: datetime) -> str:
    """Return the newest result of a monitor."""
    if monitor.unread:
        return f"not shown: {monitor.unread}"
    found = ", ".join(f"{name} {state}" for name, state in monitor.states.items())
    engine = "" if monitor.engine is None else f", engine {monitor.engine}"
    if monitor.analyzer is not None:
        engine += f" (run by {monitor.analyzer} in place of AWS's image)"
    held = "" if monitor.suppressed is None else f"; drift was not published: {monitor.suppressed}"
    return f"{found}; window until {moment(monitor.window_until, now)}{engine}{held}"


def _pipeline_lines(pipeline: PipelineOverview, now: datetime) -> Iterator[str]:
    yield f"  pipeline {pipeline.pipeline}"
    if pipeline.last_started is None:
        yield "    started   never"
    else:
        since = f"; {pipeline.new_labels} new labels since" if pipeline.new_labels else ""
        yield f"    started   {moment(pipeline.last_started, now)}, {pipeline.day_count} of that day{since}"
    if pipeline.unread:
        yield f"    runs      not shown: {pipeline.unread}"
    if pipeline.last_run is not None:
        yield f"    last      {run_words(pipeline.last_run, now)}"
    if pipeline.refused is not None:
        yield f"    refused   {_refused(pipeline.refused, now)}"
    yield from _running("retraining", pipeline.running, pipeline.lock, now)


def run_words(run: Run, now: datetime) -> str:
    """Return the outcome, trigger and time of a run."""
    requester = " ".join(filter(None, (run.trigger and run.trigger.value, run.who)))
    version = "" if run.version is None else f" as {run.version}, {run.approval}"
    why = f": {shorten(run.reason, _REASON, placeholder=' ...; see: mlops runs show latest')}" if run.reason else ""
    return f"{run.outcome}{version}, requested by {requester or 'unknown'} {moment(run.at, now)}{why}"


def _refused(run: Run, now: datetime) -> str:
    """Return the guard's last refusal, and when it accepts requests again."""
    decision = "" if run.decision is None else run.decision.value
    times = "" if run.times == 1 else f" {run.times} times"
    if run.free_at is None:
        accepts = "accepts the next request"
    else:
        accepts = (
            f"accepts {'since' if datetime.fromisoformat(run.free_at) <= now else 'from'} {moment(run.free_at, now)}"
        )
    return f"{decision}{times}, {moment(run.at, now)}: {' '.join(run.reason.split())}; {accepts}"


def _running(what: str, running: tuple[str, ...], lock: Lock | None, now: datetime) -> Iterator[str]:
    for execution in running:
        holds = lock is not None and lock.owner == execution
        yield f"    runs      {what} {execution.rpartition(':')[2]}, {'holds the lock' if holds else 'waits'}"
    if lock is not None:
        free = "free to take over since" if lock.expired else "until"
        yield f"    lock      {lock.owner.rpartition(':')[2]} {free} {moment(lock.until, now)}"


def _record(record: AuditRecord, now: datetime) -> str:
    why = f": {record.reason}" if record.reason else ""
    return f"{record.sequence} {record.outcome.value} {moment(record.at, now)}{why}"


def moment(at: str | datetime, now: datetime) -> str:
    """Return a time with its distance from now.

    Example:
        >>> from datetime import UTC
        >>> moment("2017-08-08T11:00:00Z", datetime(2017, 8, 8, 13, tzinfo=UTC))
        '2017-08-08 11:00 (2 hours ago)'
    """
    found = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    return f"{found:%Y-%m-%d %H:%M} ({distance(found - now)})"


def distance(span: timedelta) -> str:
    """Return the distance of a time from now, in the largest unit that fits.

    Example:
        >>> distance(timedelta(hours=-49)), distance(timedelta(minutes=1)), distance(timedelta(seconds=-3))
        ('2 days ago', 'in 1 minute', 'now')
    """
    seconds = abs(span.total_seconds())
    for name, length in _UNITS:
        if seconds >= length:
            count = int(seconds // length)
            phrase = f"{count} {name}{'' if count == 1 else 's'}"
            return f"in {phrase}" if span > timedelta() else f"{phrase} ago"
    return "now"
