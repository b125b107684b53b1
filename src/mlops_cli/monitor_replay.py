"""``mlops monitor replay``: would this have alarmed? Kept counts, decided again with other thresholds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from mlops_cli import monitor_baseline
from mlops_cli.account import Profile
from mlops_cli.errors import UserError
from mlops_cli.feature_groups import print_table
from mlops_cli.local import Home
from mlops_cli.monitor_place import NEWEST, AsJson, Endpoint, hour, watched

if TYPE_CHECKING:
    from mlops_runtime.contracts.monitor import MonitorReport
    from mlops_runtime.monitor.drift.replay import ReplayedWindow
    from mlops_runtime.monitor.spec import MonitorSpec

_WINDOWS = 28  # that are replayed where no time is named
# of quality, bias and latency: counts say nothing about them
_NOT_REPLAYED = (
    "alarm_features",
    "minimum_labels",
    "maximum_wape_ratio",
    "label_delay_hours",
    "quality_limits",
    "maximum_bias_shift",
    "minimum_ndcg",
    "latency_limits",
    "maximum_latency_ratio",
)


def replay(
    endpoint: Endpoint = None,
    *,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Start of the first window, UTC. Default: 28 windows back.", show_default=False),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="When the last one ends. Default: as the newest did.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A threshold of MonitorSpec to try.", show_default=False),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            help="A baseline of `mlops monitor baseline` to try: captures are counted again. Default: the live one.",
            show_default=False,
        ),
    ] = None,
    window_hours: Annotated[
        int | None, typer.Option(help="Length of a window. Default: that of the newest.", min=1, show_default=False)
    ] = None,
    every_hours: Annotated[
        int | None,
        typer.Option(
            help="How often one ends. Default: as often as the monitor's newest did.", min=1, show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Decide kept counts again, as they were and with other thresholds or another baseline: would this have alarmed?"""
    tried = [*(settings or []), *(() if against is None else (f"the baseline {against}",))]
    with watched(endpoint, profile, home) as found:
        from mlops_runtime.monitor.drift.replay import replay as decide_again
        from mlops_runtime.monitor.known import known
        from mlops_runtime.monitor.page.text import window_hours as length
        from mlops_runtime.monitor.spec import MonitorSpec
        from mlops_runtime.monitor.window import Window

        newest = found.report(NEWEST)
        before = MonitorSpec() if newest.spec is None else newest.spec
        hours = window_hours or int(length(newest))
        every = every_hours or found.period_hours(newest) or hours
        until = hour("--to", newest.window_until if end is None else end)
        back = timedelta(hours=hours + every * (_WINDOWS - 1))
        since = until - back if start is None else hour("--from", start)
        if since >= until:
            raise UserError(f"--from must be before --to, got {since:%Y-%m-%dT%H} and {until:%Y-%m-%dT%H}")
        kept = found.archive.kept(newest)
        if kept.baseline is None:
            raise UserError(f"nothing can be replayed: {kept.problem}")
        # as deciding does; a name that is set here and is none fails below
        before, gone = known(before, kept.baseline)
        spec = changed(before, settings or [])
        read = Window(since, until).extended(max(before.merge_hours, spec.merge_hours))
        counted = found.archive.hourly(newest.variant, read, kept.baseline)
        if not counted.parts:
            live = found.live_since()
            serves = "" if live is None else f"; the live model serves since {live[:13]}: name a time after it"
            raise UserError(
                f"no counts of {found.endpoint} from {since:%Y-%m-%dT%H} to {until:%Y-%m-%dT%H} are of the live model's baseline"
                f" ({counted.others} are of others){serves}"
            )
        span: dict[str, Any] = {
            "window_hours": hours,
            "every_hours": every,
            "start": since,
            "end": until,
        }
        try:
            was = decide_again(kept.baseline, counted.parts, before, **span)
            if against is not None:
                other = monitor_baseline.read(against, kept.baseline)
                now = decide_again(other, monitor_baseline.recount(found, newest.variant, read, other), spec, **span)
            else:
                now = decide_again(kept.baseline, counted.parts, spec, **span) if spec != before else was
        except ValueError as error:
            raise UserError(" ".join(str(error).split())) from error
    if start is None:
        # before the first call there is nothing to tell
        told = next((index for index, window in enumerate(now) if window.rows), 0)
        was, now = was[told:], now[told:]
    if as_json:
        shown = {
            "endpoint": newest.endpoint,
            "settings": {item.partition("=")[0]: item.partition("=")[2] for item in settings or []},
            "baseline": None if against is None else str(against),
            "left_out_objects": counted.others,
            "as_it_is": [_as_json(window) for window in was],
            "with_settings": [_as_json(window) for window in now],
        }
        typer.echo(json.dumps(shown, indent=2, sort_keys=True))
        return
    _print(newest, was, now, tried)
    for problem in gone:
        typer.echo(problem)
    if counted.others:
        typer.echo(f"{counted.others:,} objects were counted against other baselines and are left out")


def changed(spec: "MonitorSpec", settings: Sequence[str]) -> "MonitorSpec":
    """Return thresholds with some of them set anew.

    Args:
        spec: The thresholds.
        settings: ``name=value``; several names are joined by commas, limits written ``name:limit``.

    Raises:
        UserError: With every setting that is unknown, said twice, or cannot be.

    Example:
        >>> from mlops_runtime.monitor.spec import MonitorSpec
        >>> changed(MonitorSpec(), ["minimum_effect=0.05", "features=price,store"]).features
        ('price', 'store')
    """
    hints = get_type_hints(type(spec))
    names = [field.name for field in fields(spec) if field.name not in ("format", *_NOT_REPLAYED)]
    problems, values = [], {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            problems.append(f"--set must be NAME=VALUE, got {setting!r}")
        elif name in _NOT_REPLAYED:
            problems.append(f"{name} is no threshold of drift, and counts say nothing of it")
        elif name not in names:
            problems.append(f"there is no threshold {name!r}, there are {', '.join(names)}")
        elif name in values:
            problems.append(f"{name} must be set once, got {setting!r} too")
        else:
            try:
                values[name] = _value(text, hints[name])
            except ValueError:
                problems.append(f"{name} must be a {'whole ' if hints[name] is int else ''}number, got {text!r}")
    if problems:
        raise UserError("\n".join(problems))
    try:
        return replace(spec, **values)
    except ValueError as error:
        told = str(error).split("; ")
        if "of_windows" not in values:
            told = [f"{each}; --set of_windows too" if each.startswith("alarm_windows ") else each for each in told]
        raise UserError("\n".join(told)) from error


def _value(text: str, kind: Any) -> Any:
    if kind in (int, float):
        return kind(text)
    if any(getattr(each, "__origin__", each) is tuple for each in (kind, *get_args(kind))):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    raise ValueError(text)


def _print(
    newest: "MonitorReport", was: "Sequence[ReplayedWindow]", now: "Sequence[ReplayedWindow]", tried: Sequence[str]
) -> None:
    differ = bool(tried)
    heads = (
        "window until",
        "rows",
        "as it is",
        *(("with settings",) if differ else ()),
        "what drifted, in brackets: in too few windows",
    )
    rows = []
    for before, after in zip(was, now, strict=True):
        states = (before.state.value, *((after.state.value,) if differ else ()))
        rows.append((f"{after.window.end:%Y-%m-%d %H:%M}", f"{after.rows:,}", *states, _drifted(after)))
    print_table(heads, rows)
    alarms = sum(window.state.value == "VIOLATION" for window in now)
    tested = sum(window.state.value in ("OK", "VIOLATION") for window in now)
    told = f"{newest.endpoint}: {alarms} of {len(now)} windows would have alarmed"
    if differ:
        alarmed = sum(window.state.value == "VIOLATION" for window in was)
        told += f" with {', '.join(tried)}; as it is {alarmed}"
    typer.echo(f"{told}; {len(now) - tested} had too few rows to be tested")


def _drifted(window: "ReplayedWindow") -> str:
    from mlops_runtime.monitor.page.text import ranked

    names = [f.name if f.persistent else f"({f.name})" for f in ranked(window.features) if f.drifted]
    return ", ".join(names)


def _as_json(window: "ReplayedWindow") -> Mapping[str, Any]:
    from mlops_runtime.contracts import to_dict

    return {
        "window_from": to_dict(window.window.start),
        "window_until": to_dict(window.window.end),
        "hours_merged": window.hours_merged,
        "rows": window.rows,
        "state": window.state.value,
        "drifted": [f.name for f in window.features if f.drifted],
        "persistent": [f.name for f in window.features if f.persistent],
    }
