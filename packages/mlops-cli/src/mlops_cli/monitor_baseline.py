"""``mlops monitor baseline``: create a baseline from captured live traffic; count captures against such a baseline."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from mlops_cli.answers import AsJson, print_json
from mlops_cli.aws_account import Profile, UserError, writing
from mlops_cli.local import Home
from mlops_cli.local_clock import moved
from mlops_cli.monitor_place import NEWEST, Endpoint, watched
from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.rollout import TakenBack, is_among, taken_back

if TYPE_CHECKING:
    from mlops_runtime.contracts.monitor import Baseline, Condition
    from mlops_runtime.monitor.archive import HourlyCounts
    from mlops_runtime.monitor.watched_endpoint import Watched
    from mlops_runtime.monitor.window import Window

_WEEKS = 4  # default length of the baseline
OfTime = Literal["hour_of_day", "hour_of_week", "day_of_week", "week_of_month", "week_of_year"]
_OF_TIME: tuple[OfTime, ...] = get_args(OfTime)


def baseline(
    endpoint: Endpoint = None,
    *,
    start: Annotated[
        str | None, typer.Option("--from", help="First hour, UTC. Default: four weeks before --to.")
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="End, exclusive, as an hour in UTC. Default: the end of the newest window."),
    ] = None,
    cluster: Annotated[
        Literal["call", "hour", "day"], typer.Option(help="Cluster of rows that vary together.")
    ] = "hour",
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            metavar="NAME",
            help=f"Condition for comparisons: one of the live baseline, a text column, or {', '.join(_OF_TIME)}. May be repeated. "
            "Default: the conditions of the live baseline.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("baseline.json"),
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Create a baseline from past captures, to try with `replay --baseline`. The monitor continues to use the approved one."""
    with watched(endpoint, profile, home) as found:
        from mlops_runtime.monitor.counting.live_baseline import live_baseline
        from mlops_runtime.monitor.window import Window

        newest = found.report(NEWEST)
        from mlops_runtime.monitor.watched_endpoint import whole_hour

        until = whole_hour("--to", newest.window_until if end is None else end)
        since = moved(until, -timedelta(weeks=_WEEKS), option="--to") if start is None else whole_hour("--from", start)
        if since >= until:
            raise UserError(f"--from must be before --to, got {since:%Y-%m-%dT%H} and {until:%Y-%m-%dT%H}")
        kept = found.archive.kept(newest)
        if kept.baseline is None:
            raise UserError(
                f"cannot create a baseline, since the live one with the columns' types cannot be read: {kept.problem}"
            )
        live, store = kept.baseline, found.captures()
        keys = store.capture_keys(newest.variant, Window(since, until))
        try:
            made = live_baseline(
                map(store.object_lines, keys),
                {feature.name: feature.type for feature in live.features},
                created=f"{found.now:%Y-%m-%dT%H:%M:%SZ}",
                training_set_id=live.training_set_id,
                since=found.live_since() or "",
                cluster=cluster,
                conditions=_conditions(live, conditions),
                pairs=[(pair.first, pair.second) for pair in live.pairs or ()],
                identifiers=tuple(live.left_out or ()),
                aside=taken_back(found.rollout.read()),
                announced=store.announced(),
                classes=live.classes,
                outputs=live.outputs,
            )
        except ValueError as error:
            raise UserError(
                f"{error}; {len(keys)} objects were read, from {since:%Y-%m-%dT%H} to {until:%Y-%m-%dT%H}"
            ) from error
    with writing(output):
        output.write_bytes(canonical_json(made))
    shown = {
        "endpoint": newest.endpoint,
        "from": f"{since:%Y-%m-%dT%H}",
        "to": f"{until:%Y-%m-%dT%H}",
        "objects": len(keys),
        "rows": made.rows,
        "file": str(output),
        "sha256": content_hash(made),
    }
    if as_json:
        print_json(shown)
        return
    typer.echo(
        f"{newest.endpoint}: wrote the baseline {output} from {made.rows:,} rows of {len(keys):,} objects, {shown['from']} to "
        f"{shown['to']} UTC, SHA-256 {shown['sha256']}"
    )
    typer.echo(f"try it: mlops monitor replay {newest.endpoint} --baseline {output}")


def read(path: Path, live: "Baseline") -> "Baseline":
    """Read a baseline from a file; it must have the inputs of the live model's baseline.

    Raises:
        UserError: If the file is missing or invalid, or its baseline has other inputs.
    """
    from mlops_runtime.contracts.monitor import Baseline

    try:
        found = from_json(Baseline, path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the baseline {path}: {error.strerror}") from error
    except ContractError as error:
        raise UserError(f"{path} is not a baseline: {error}; create one with mlops monitor baseline") from error
    names, others = ([(each.name, each.type) for each in one.features] for one in (live, found))
    if names != others:
        raise UserError(
            f"{path} must have the inputs of the live model, {_inputs_text(names)}, got {_inputs_text(others)}"
        )
    return found


def recount(
    found: "Watched",
    variant: str,
    window: "Window",
    against: "Baseline",
    *,
    since: datetime | None,
    aside: Sequence[TakenBack],
) -> "HourlyCounts":
    """Count a window's captures against a baseline, by hour.

    Args:
        found: The endpoint's monitor.
        window: The hours to count.
        against: The baseline.
        since: Time at which the model went live; earlier calls belong to another model. ``None`` if unknown.
        aside: Rollouts that were rolled back; objects with calls during these are skipped.
    """
    from mlops_runtime.monitor.archive import HourlyCounts
    from mlops_runtime.monitor.counting.counts import count
    from mlops_runtime.monitor.window import stamp

    store, live = found.captures(), "" if since is None else stamp(since)
    hours = ((store.capture_hour(variant, key), key) for key in store.capture_keys(variant, window))
    parts = [(at, count(store.object_lines(key), against, since=live)) for at, key in hours if at is not None]
    own = [(at, counts) for at, counts in parts if not is_among(counts.first, counts.last, aside)]
    return HourlyCounts(parts=own, taken_back=len(parts) - len(own))


def _conditions(live: "Baseline", names: Sequence[str] | None) -> "tuple[Condition, ...]":
    from mlops_runtime.contracts.monitor import Condition

    there = {condition.name: condition for condition in live.conditions or ()}
    if names is None:
        return tuple(there.values())
    of_time: dict[str, Condition] = {kind: Condition(name=kind, kind=kind) for kind in _OF_TIME}
    return tuple(there.get(name) or of_time.get(name) or Condition(name=name) for name in names)


def _inputs_text(inputs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in inputs)
