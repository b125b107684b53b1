"""``mlops status``: each unit's deployments, paused automation and running executions."""

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mlops_cli.answers import AsJson, print_json
from mlops_cli.aws_account import Account, Profile, UserError, account
from mlops_cli.local import Home
from mlops_cli.printed_tables import visible
from mlops_cli.rollout_words import facts

if TYPE_CHECKING:
    from mlops_runtime.business_unit.unit_overview import (
        EndpointOverview,
        Lock,
        MonitorOverview,
        PipelineOverview,
        UnitOverview,
    )
    from mlops_runtime.contracts.rollout import AuditRecord
    from mlops_runtime.retraining.run_history import Run
    from mlops_runtime.rollout.rollout_progress import RolloutProgress, RolloutReader

_LOOK_SECONDS = 2.0
_REASON = 200  # characters of what `mlops runs show` says whole
_CLEARED = "\x1b[H\x1b[2J"  # ECMA-48 8.3.21 and 8.3.39
_DISTANCE = re.compile(r" \((?:in [^()]+|[^()]+ ago|now)\)")
_LEFT = "    left "
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))


def status(
    unit: Annotated[
        str | None, typer.Argument(help="Name of the business unit. Default: all.", show_default=False)
    ] = None,
    *,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show it again until interrupted; where there is no terminal, what has changed."),
    ] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show versions, rollouts, approvals, monitors, pauses, freezes, and what last came of retraining, by unit."""
    from mlops_runtime.contracts import to_dict
    from mlops_runtime.rollout.rollout_progress import RolloutReader

    if watch and as_json:
        raise UserError("--watch shows lines as they change, --json one document; remove one of the two options")
    with account(profile, home) as aws:
        # one reader, so that a watch reads each event of a rollout once
        rollouts = RolloutReader(stepfunctions=aws.client("stepfunctions"))
        seen = _seen(aws, unit, rollouts)
        if watch:
            _watch(seen, lambda: _seen(aws, unit, rollouts))
    if as_json:
        units = to_dict(seen.units)
        print_json({"now": to_dict(seen.now), "caller": seen.caller, "units": units, "unread": seen.unread})
        return
    typer.echo(seen.head())
    for line in seen.lines():
        typer.echo(line)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What there is at a time."""

    now: datetime
    caller: str
    units: "Sequence[UnitOverview]"
    unread: Mapping[str, str]

    def head(self) -> str:
        """Return the first line."""
        from mlops_runtime.registry.package_approval import person_of

        return f"{self.now:%Y-%m-%d %H:%M} UTC, as {person_of(self.caller)}"

    def lines(self) -> Iterator[str]:
        """Yield the others."""
        if not self.units:
            yield "no business unit is deployed here; deploy a stack with: mlops deploy"
        for each in self.units:
            yield from map(visible, unit_lines(each, self.now))
        for name, reason in self.unread.items():
            yield f"\n{name}\n  not shown   {reason}"


def _seen(aws: Account, unit: str | None, rollouts: "RolloutReader") -> _Seen:
    from mlops_runtime.business_unit.deployed_entries import Entries
    from mlops_runtime.business_unit.unit_overview import Overview
    from mlops_runtime.retraining.run_history import RunHistory

    entries = Entries(ssm=aws.client("ssm"))
    by, now = aws.caller()
    clients = {name: aws.client(name) for name in ("dynamodb", "sagemaker", "stepfunctions", "s3")}
    overview = Overview(
        **clients,
        now=now,
        history=lambda owner, pipeline: RunHistory(client=aws.client, unit=owner, pipeline=pipeline),
        rollouts=rollouts,
    )
    if unit is None:
        found, unread = overview.readable(entries)
    else:
        found, unread = [overview.unit(entries.unit(unit), *entries.of_unit(unit))], {}
    return _Seen(now=now, caller=by, units=found, unread=unread)


def _watch(first: _Seen, look: Callable[[], _Seen]) -> NoReturn:
    """Draw what there is again and again; without a terminal print the lines that are new, under their time."""
    shown: frozenset[str] = frozenset()
    seen = first
    while True:
        lines = list(seen.lines())
        if sys.stdout.isatty():
            typer.echo("\n".join([f"{_CLEARED}{seen.head()}", *lines]))
        else:
            news = [line for line in lines if _timeless(line) not in shown]
            if news:
                typer.echo("\n".join([seen.head(), *news]))
            shown = frozenset(map(_timeless, lines))
        time.sleep(_LOOK_SECONDS)
        seen = look()


def _timeless(line: str) -> str:
    """Return a line without how far its times are, and how long a rollout still takes: that passes by itself."""
    return _LEFT if line.startswith(_LEFT) else _DISTANCE.sub("", line)


def unit_lines(unit: "UnitOverview", now: datetime) -> Iterator[str]:
    """Yield what a person reads of a unit."""
    yield f"\n{unit.unit}"
    yield f"  automation  {_automation(unit, now)}"
    if unit.next_freeze is not None:
        freeze = unit.next_freeze
        yield f"  freeze      {freeze.name!r} from {_moment(freeze.start, now)}"
    if unit.last is not None:
        yield f"  record      {_record(unit.last, now)}"
    for endpoint in unit.endpoints:
        yield from _endpoint_lines(endpoint, now)
    for pipeline in unit.pipelines:
        yield from _pipeline_lines(pipeline, now)


def _automation(unit: "UnitOverview", now: datetime) -> str:
    from mlops_runtime.registry.package_approval import person_of

    reasons = []
    if unit.pause is not None and unit.pause.is_paused:
        pause = unit.pause
        reasons.append(f"paused since {_moment(pause.at, now)} by {person_of(pause.by)}: {pause.reason}")
    if unit.frozen is not None:
        reasons.append(unit.frozen)
    return f"stopped: {'; '.join(reasons)}" if reasons else "runs"


def _endpoint_lines(endpoint: "EndpointOverview", now: datetime) -> Iterator[str]:
    yield f"  endpoint {endpoint.endpoint}: {endpoint.state}"
    live = endpoint.live
    if live is not None:
        version = live.model_package_arn.rpartition("/")[2]
        yield f"    live      version {version} in {live.config} since {_moment(live.since, now)}"
        if endpoint.serving_config not in (None, live.config):
            yield f"    serving   {endpoint.serving_config}, which the last rollout did not record"
    if endpoint.desired is None:
        yield "    desired   no serving spec is stored yet"
    else:
        how = {None: "at the first approval", True: "as live", False: "not served yet"}[endpoint.is_desired]
        yield f"    desired   {endpoint.desired.rpartition('/')[2].removesuffix('.json')}, {how}"
    if endpoint.monitor is not None:
        yield f"    monitor   {_monitor(endpoint.monitor, now)}"
    if endpoint.waiting is None:
        yield "    waiting   not shown: the caller may not list packages"
    elif endpoint.waiting:
        versions = ", ".join(arn.partition(":model-package/")[2] for arn in endpoint.waiting)
        yield f"    waiting   for an approval: {versions}; see: mlops models show {versions.partition(',')[0]}"
    yield from _rollout_lines(endpoint, now)


def _rollout_lines(endpoint: "EndpointOverview", now: datetime) -> Iterator[str]:
    """Yield what runs, how far it is, and what came of the last one."""
    yield from _running("rollout", endpoint.running, endpoint.lock, now)
    if endpoint.progress is not None:
        yield from _progress_lines(endpoint.progress, endpoint.endpoint, now)
    elif endpoint.progress_unread:
        yield f"    step      not shown: {endpoint.progress_unread}"
    if endpoint.probation_until is not None:
        yield f"    probation until {_moment(endpoint.probation_until, now)}"
    if endpoint.last is not None:
        yield f"    record    {_record(endpoint.last, now)}"
    rollout = endpoint.rollout
    if rollout is None or rollout.verdict is None:
        return
    if rollout != endpoint.last:
        yield f"    rollout   {_record(rollout, now)}"
    if rollout.verdict.sentence not in rollout.reason:
        yield f"    verdict   {rollout.verdict.sentence}"


def _progress_lines(progress: "RolloutProgress", endpoint: str, now: datetime) -> Iterator[str]:
    for number, (name, text) in enumerate(facts(progress, endpoint, now)):
        since = f"; since {_moment(progress.since, now)}" if number == 0 else ""
        yield f"    {name:<10}{text}{since}"


def _monitor(monitor: "MonitorOverview", now: datetime) -> str:
    if monitor.unread:
        return f"not shown: {monitor.unread}"
    found = ", ".join(f"{name} {state}" for name, state in monitor.states.items())
    engine = "" if monitor.engine is None else f", engine {monitor.engine}"
    if monitor.analyzer is not None:
        engine += f" (run by {monitor.analyzer} in place of AWS's image)"
    held = "" if monitor.suppressed is None else f"; drift was not published: {monitor.suppressed}"
    return f"{found}; window until {_moment(monitor.window_until, now)}{engine}{held}"


def _pipeline_lines(pipeline: "PipelineOverview", now: datetime) -> Iterator[str]:
    yield f"  pipeline {pipeline.pipeline}"
    if pipeline.last_started is None:
        yield "    started   never"
    else:
        since = f"; {pipeline.new_labels} new labels since" if pipeline.new_labels else ""
        yield f"    started   {_moment(pipeline.last_started, now)}, {pipeline.day_count} of that day{since}"
    if pipeline.unread:
        yield f"    runs      not shown: {pipeline.unread}"
    if pipeline.last_run is not None:
        yield f"    last      {_run(pipeline.last_run, now)}"
    if pipeline.refused is not None:
        yield f"    refused   {_refused(pipeline.refused, now)}"
    yield from _running("retraining", pipeline.running, pipeline.lock, now)


def _run(run: "Run", now: datetime) -> str:
    """Return what asked for a run, and what came of it."""
    asked = " ".join(filter(None, (run.trigger and run.trigger.value, run.who)))
    version = "" if run.version is None else f" as {run.version}, {run.approval}"
    why = f": {shorten(run.reason, _REASON, placeholder=' ...; see: mlops runs show latest')}" if run.reason else ""
    return f"{run.outcome}{version}, asked by {asked or 'unknown'} {_moment(run.at, now)}{why}"


def _refused(run: "Run", now: datetime) -> str:
    """Return what the guard has refused since, and when it accepts again."""
    decision = "" if run.decision is None else run.decision.value
    times = "" if run.times == 1 else f" {run.times} times"
    if run.free_at is None:
        accepts = "accepts the next request"
    else:
        accepts = (
            f"accepts {'since' if datetime.fromisoformat(run.free_at) <= now else 'from'} {_moment(run.free_at, now)}"
        )
    return f"{decision}{times}, {_moment(run.at, now)}: {' '.join(run.reason.split())}; {accepts}"


def _running(what: str, running: tuple[str, ...], lock: "Lock | None", now: datetime) -> Iterator[str]:
    for execution in running:
        holds = lock is not None and lock.owner == execution
        yield f"    runs      {what} {execution.rpartition(':')[2]}, {'holds the lock' if holds else 'waits'}"
    if lock is not None:
        free = "free to take over since" if lock.expired else "until"
        yield f"    lock      {lock.owner.rpartition(':')[2]} {free} {_moment(lock.until, now)}"


def _record(record: "AuditRecord", now: datetime) -> str:
    why = f": {record.reason}" if record.reason else ""
    return f"{record.sequence} {record.outcome.value} {_moment(record.at, now)}{why}"


def _moment(at: str | datetime, now: datetime) -> str:
    moment = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    return f"{moment:%Y-%m-%d %H:%M} ({distance(moment - now)})"


def distance(span: timedelta) -> str:
    """Return how far a time is from now, in the largest unit that fits.

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
