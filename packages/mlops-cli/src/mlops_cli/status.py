"""``mlops status``: deployments, rollouts, paused automation and monitors of each unit."""

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mlops_cli.answers import AsJson, print_json, visible
from mlops_cli.aws_account import Account, Profile, UserError, account
from mlops_cli.local import Home
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts import to_dict
from mlops_runtime.registry.package_approval import person_of
from mlops_runtime.rollout.rollout_progress import RolloutReader

if TYPE_CHECKING:
    from mlops_runtime.business_unit.unit_overview import UnitOverview

_LOOK_SECONDS = 2.0
_CLEARED = "\x1b[H\x1b[2J"  # ECMA-48 8.3.21 and 8.3.39
_DISTANCE = re.compile(r" \((?:in [^()]+|[^()]+ ago|now)\)")
_LEFT = "    left "


def status(
    unit: Annotated[str | None, typer.Argument(help="Name of the business unit. Default: all.")] = None,
    *,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Refresh until interrupted; if standard output is not a terminal, print only changes."
        ),
    ] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show versions, rollouts, approvals, monitors, pauses, freezes and the last retraining of each unit."""
    if watch and as_json:
        raise UserError("--watch prints continuously, --json prints one document; remove one of the two options")
    with account(profile, home) as aws:
        # a shared reader, so that --watch reads each event of a rollout only once
        rollouts = RolloutReader(stepfunctions=aws.client("stepfunctions"))
        seen = _seen(aws, unit, rollouts)
        if watch:
            _watch(seen, lambda: _seen(aws, unit, rollouts))
    if as_json:
        units = [_document(each, seen.now) for each in seen.units]
        print_json({"now": to_dict(seen.now), "caller": seen.caller, "units": units, "unread": seen.unread})
        return
    typer.echo(seen.head())
    for line in seen.lines():
        typer.echo(line)


def _document(unit: "UnitOverview", now: datetime) -> dict[str, object]:
    """Return the JSON form of a unit, with what stops its automation and the state of each model as in the console."""
    from mlops_runtime.business_unit.unit_words import automation
    from mlops_runtime.console.model_state import state_of

    endpoints = []
    for each in unit.endpoints:
        state, summary = state_of(each)
        endpoints.append({**to_dict(each), "model": {"state": state.value, "summary": summary}})
    return {**to_dict(unit), "endpoints": endpoints, "automation": automation(unit, now)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Status at one time."""

    now: datetime
    caller: str
    units: "Sequence[UnitOverview]"
    unread: Mapping[str, str]

    def head(self) -> str:
        """Return the header line."""
        return f"{self.now:%Y-%m-%d %H:%M} UTC, as {person_of(self.caller)}"

    def lines(self) -> Iterator[str]:
        """Yield the lines below the header."""
        from mlops_runtime.business_unit.unit_words import unit_lines

        if not self.units:
            yield "no business unit is deployed here; deploy a stack with: mlops deploy"
        for each in self.units:
            yield from map(visible, unit_lines(each, self.now))
        for name, reason in self.unread.items():
            yield f"\n{name}\n  not shown   {reason}"


def _seen(aws: Account, unit: str | None, rollouts: RolloutReader) -> _Seen:
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
        found, unread = [overview.unit(*entries.whole_unit(unit))], {}
    return _Seen(now=now, caller=by, units=found, unread=unread)


def _watch(first: _Seen, look: Callable[[], _Seen]) -> NoReturn:
    """Redraw the status repeatedly; without a terminal, print only new lines below the time."""
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
    """Return a line without relative times and remaining durations, which change all the time."""
    return _LEFT if line.startswith(_LEFT) else _DISTANCE.sub("", line)
