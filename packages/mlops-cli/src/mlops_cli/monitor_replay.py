"""``mlops monitor replay``: decide stored counts again with other thresholds or another baseline."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from mlops_cli import monitor_baseline
from mlops_cli.answers import AsJson, print_json, print_table
from mlops_cli.aws_account import Profile, UserError, writing
from mlops_cli.local import Home
from mlops_cli.local_clock import moved
from mlops_cli.monitor_place import NEWEST, Endpoint, watched
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import taken_back

if TYPE_CHECKING:
    from mlops_runtime.contracts.monitor import Baseline
    from mlops_runtime.contracts.monitor_report import MonitorReport
    from mlops_runtime.monitor.archive import HourlyCounts
    from mlops_runtime.monitor.monitors.drift.replay import ReplayedWindow
    from mlops_runtime.monitor.spec import MonitorSpec
    from mlops_runtime.monitor.watched_endpoint import Watched

_WINDOWS = 28  # default number of replayed windows
_LONGEST = 24 * 90  # hours, the limit of a monitor's window and period
_FEATURES = ("features", "amounts")  # thresholds whose values are feature names
# thresholds of quality, bias and latency, which need more than counts
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
        str | None, typer.Option("--from", help="Start of the first window, UTC. Default: 28 windows before --to.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="End of the last window, UTC. Default: that of the newest.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Threshold of MonitorSpec to try.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            help="Baseline written by `mlops monitor baseline` to try: captures are counted again. Default: the live one.",
        ),
    ] = None,
    window_hours: Annotated[
        int | None, typer.Option(help="Length of a window, in hours. Default: that of the newest.", min=1, max=_LONGEST)
    ] = None,
    every_hours: Annotated[
        int | None,
        typer.Option(
            help="Hours between the ends of windows. Default: the monitor's schedule, else the length of a window.",
            min=1,
            max=_LONGEST,
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write the windows to, as JSON. Default: none.")] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show which past windows would have alarmed, with the current and with other thresholds or another baseline."""
    with watched(endpoint, profile, home) as found:
        newest = found.report(NEWEST)
        span = _span(found, newest, start, end, window_hours=window_hours, every_hours=every_hours)
        replayed = _replayed(found, newest, span, settings or [], against)
    if start is None:
        replayed = replayed.from_the_first_call()
    if output is not None:
        with writing(output):
            output.write_text(json.dumps(_as_json(replayed), indent=2, sort_keys=True) + "\n", "utf-8")
    if as_json:
        print_json(_as_json(replayed))
    else:
        _print(replayed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """The windows to decide again."""

    window_hours: int
    every_hours: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replayed:
    """Windows decided with current and tried settings, the tried settings, and the number of skipped objects."""

    endpoint: str
    span: _Span
    live_since: datetime | None
    settings: Sequence[str]
    against: Path | None
    was: "Sequence[ReplayedWindow]"
    now: "Sequence[ReplayedWindow]"
    unknown: Iterable[str]
    others: int
    taken_back: int

    def from_the_first_call(self) -> "_Replayed":
        """Remove leading windows without rows."""
        first = next((index for index, window in enumerate(self.now) if window.rows), 0)
        return replace(self, was=self.was[first:], now=self.now[first:])


def _span(
    found: "Watched",
    newest: "MonitorReport",
    start: str | None,
    end: str | None,
    *,
    window_hours: int | None,
    every_hours: int | None,
) -> _Span:
    from mlops_runtime.monitor.wording import window_hours as length

    hours = window_hours or int(length(newest))
    every = every_hours or found.period_hours(newest) or hours
    from mlops_runtime.monitor.watched_endpoint import whole_hour

    until = whole_hour("--to", newest.window_until if end is None else end)
    back = timedelta(hours=hours + every * (_WINDOWS - 1))
    since = moved(until, -back, option="--to") if start is None else whole_hour("--from", start)
    if since >= until:
        raise UserError(f"--from must be before --to, got {since:%Y-%m-%dT%H} and {until:%Y-%m-%dT%H}")
    if until - since < timedelta(hours=hours):
        raise UserError(
            f"no window of {_number(hours, 'hour')} fits between --from {since:%Y-%m-%dT%H} and --to {until:%Y-%m-%dT%H}; "
            "name an earlier --from, a later --to, or fewer --window-hours"
        )
    return _Span(window_hours=hours, every_hours=every, start=since, end=until)


def _replayed(
    found: "Watched", newest: "MonitorReport", span: _Span, settings: Sequence[str], against: Path | None
) -> _Replayed:
    from mlops_runtime.monitor.monitors.drift.decision import known
    from mlops_runtime.monitor.monitors.drift.replay import replay as decide_again
    from mlops_runtime.monitor.window import Window

    kept = found.archive.kept(newest)
    if kept.baseline is None:
        raise UserError(f"nothing can be replayed: {kept.problem}")
    # as in a scheduled decision
    before, unknown = known(newest.spec, kept.baseline)
    spec = changed(before, settings, kept.baseline)
    read = Window(span.start, span.end).extended(max(before.merge_hours, spec.merge_hours))
    aside, live = taken_back(found.rollout.read()), newest.live_since or found.live_since()
    counted = found.archive.hourly(newest.variant, read, kept.baseline, aside=aside)
    if not counted.parts:
        raise UserError(_nothing(found.endpoint, span, counted, live))
    live_since = None if live is None else datetime.fromisoformat(live)
    arguments = {**asdict(span), "live_since": live_since}
    left_out = counted.taken_back
    try:
        was = decide_again(kept.baseline, counted.parts, before, **arguments)
        if against is not None:
            other = monitor_baseline.read(against, kept.baseline)
            again = monitor_baseline.recount(found, newest.variant, read, other, since=live_since, aside=aside)
            left_out = max(left_out, again.taken_back)  # includes objects that the monitor never counted
            now = decide_again(other, again.parts, spec, **arguments)
        else:
            now = decide_again(kept.baseline, counted.parts, spec, **arguments) if spec != before else was
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error
    return _Replayed(
        endpoint=newest.endpoint,
        span=span,
        live_since=live_since,
        settings=settings,
        against=against,
        was=was,
        now=now,
        unknown=unknown,
        others=counted.others,
        taken_back=left_out,
    )


def _nothing(endpoint: str, span: _Span, counted: "HourlyCounts", live: str | None) -> str:
    serves = "" if live is None else f"; the live model has been serving since {live[:13]}: name a later time"
    aside = f", {counted.taken_back} have calls of a rollout that was rolled back" if counted.taken_back else ""
    return (
        f"no counts of {endpoint} from {span.start:%Y-%m-%dT%H} to {span.end:%Y-%m-%dT%H} use the live model's baseline "
        f"({counted.others} use another one{aside}){serves}"
    )


def changed(spec: "MonitorSpec", settings: Sequence[str], baseline: "Baseline | None" = None) -> "MonitorSpec":
    """Return thresholds with changed values.

    Args:
        spec: The thresholds.
        settings: ``name=value``; values of a list are separated by commas.
        baseline: The live model's, to check feature names. Default: names are not checked.

    Raises:
        UserError: With every setting that is unknown, repeated or invalid.

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
            problems.append(f"{name} is not a threshold of drift, and counts do not contain it")
        elif name not in names:
            problems.append(f"there is no threshold {name!r}, there are {', '.join(names)}{meant(name, names)}")
        elif name in values:
            problems.append(f"{name} must be set once, got {setting!r} too")
        else:
            try:
                values[name] = _value(text, hints[name])
            except ValueError:
                problems.append(f"{name} must be {'an integer' if hints[name] is int else 'a number'}, got {text!r}")
    if baseline is not None:
        problems += _unknown(baseline, {name: values[name] for name in _FEATURES if name in values})
    if problems:
        raise UserError("\n".join(problems))
    try:
        return replace(spec, **values)
    except ValueError as error:
        reported = str(error).split("; ")
        if "of_windows" not in values:
            reported = [
                f"{each}; --set of_windows too" if each.startswith("alarm_windows ") else each for each in reported
            ]
        raise UserError("\n".join(reported)) from error


def _unknown(baseline: "Baseline", named: Mapping[str, Sequence[str]]) -> Iterator[str]:
    from mlops_runtime.monitor.counting.pairs import pair_name

    more = (*baseline.predicted, baseline.null_patterns)
    there = [*(one.name for one in (*baseline.features, *more) if one), *map(pair_name, baseline.pairs or ())]
    for setting, names in named.items():
        for name in names:
            if name not in there:
                yield f"{setting}: the live model has no feature {name!r}, it has {', '.join(there)}{meant(name, there)}"


def meant(name: str, names: Iterable[str]) -> str:
    """Return a question about the name that is closest to an unknown one; an empty text if none is close."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _value(text: str, kind: Any) -> Any:
    if kind in (int, float):
        return kind(text)
    if any(getattr(each, "__origin__", each) is tuple for each in (kind, *get_args(kind))):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    raise ValueError(text)


def _print(replayed: _Replayed) -> None:
    against, settings = replayed.against, replayed.settings
    tried = [*settings, *(() if against is None else (f"the baseline {against}",))]
    named = [*(() if against is None else ("the baseline",)), *(("settings",) if settings else ())]
    heads = (
        "window until",
        "rows",
        "as it is",
        *((f"with {' and '.join(named)}",) if named else ()),
        "drifted features (in parentheses: in too few windows)",
    )
    rows = []
    for before, after in zip(replayed.was, replayed.now, strict=True):
        states = (_state(before), *((_state(after),) if tried else ()))
        number = "-" if _is_before_live(after) else f"{after.rows:,}"
        rows.append((f"{after.window.end:%Y-%m-%d %H:%M}", number, *states, _drifted(after)))
    print_table(heads, rows)
    for line in _summary(replayed, tried):
        typer.echo(line)


def _summary(replayed: _Replayed, tried: Sequence[str]) -> Iterator[str]:
    now, span, live = replayed.now, replayed.span, replayed.live_since
    earlier = sum(map(_is_before_live, now))
    untested = len(now) - earlier - sum(window.state.value in ("OK", "VIOLATION") for window in now)
    summary = f"{replayed.endpoint}: {_alarms(now)} of {_number(len(now) - earlier, 'window')} would have alarmed"
    if tried:
        summary += f" with {', '.join(tried)}; as it is {_alarms(replayed.was)}"
    more = f"; {earlier} more ended before the live model was deployed" if earlier else ""
    yield f"{summary}; {untested} had too few rows to be tested{more}"
    yield f"windows of {_number(span.window_hours, 'hour')}, one every {_number(span.every_hours, 'hour')}"
    if live is not None and any(window.hours_before_live for window in now):
        yield f"the live model has been serving since {live:%Y-%m-%d %H:%M} UTC; earlier calls were served by another model"
    yield from replayed.unknown
    if replayed.others:
        yield f"skipped: {_number(replayed.others, 'object')} counted against another baseline"
    if replayed.taken_back:
        yield f"skipped: {_number(replayed.taken_back, 'object')} with calls of a rollout that was rolled back"


def _alarms(windows: "Sequence[ReplayedWindow]") -> int:
    return sum(window.state.value == "VIOLATION" for window in windows)


def _state(window: "ReplayedWindow") -> str:
    return "before the live model" if _is_before_live(window) else window.state.value


def _is_before_live(window: "ReplayedWindow") -> bool:
    return window.state.value == "NOT_YET_DEPLOYED"


def _drifted(window: "ReplayedWindow") -> str:
    from mlops_runtime.monitor.monitors.drift.feature_words import ranked

    names = [f.name if f.persistent else f"({f.name})" for f in ranked(window.features) if f.drifted]
    hours, before = window.window.hours, window.hours_before_live
    part = f"{before} of {hours} hours are before the live model" if 0 < before < hours else ""
    return "; ".join(filter(None, (", ".join(names), part)))


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _as_json(replayed: _Replayed) -> Mapping[str, Any]:
    live = replayed.live_since
    return {
        "endpoint": replayed.endpoint,
        "settings": {item.partition("=")[0]: item.partition("=")[2] for item in replayed.settings},
        "baseline": None if replayed.against is None else str(replayed.against),
        "window_hours": replayed.span.window_hours,
        "every_hours": replayed.span.every_hours,
        "live_since": None if live is None else to_dict(live),
        "left_out_objects": replayed.others,
        "taken_back_objects": replayed.taken_back,
        "as_it_is": [_window(window) for window in replayed.was],
        "with_settings": [_window(window) for window in replayed.now],
    }


def _window(window: "ReplayedWindow") -> Mapping[str, Any]:
    return {
        "window_from": to_dict(window.window.start),
        "window_until": to_dict(window.window.end),
        "hours_before_live": window.hours_before_live,
        "hours_merged": window.hours_merged,
        "rows": window.rows,
        "state": window.state.value,
        "drifted": [f.name for f in window.features if f.drifted],
        "persistent": [f.name for f in window.features if f.persistent],
    }
