"""``mlops runs``: list, show and compare a pipeline's training runs and refused requests, and print job logs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlops_cli.answers import AsJson, answer, print_json, print_table, visible
from mlops_cli.aws_account import Account, Profile, account, shown
from mlops_cli.local import Home
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts import to_dict

if TYPE_CHECKING:
    from mlops_runtime.contracts.retraining import TrainingMetrics
    from mlops_runtime.retraining.run_comparison import RunComparison
    from mlops_runtime.retraining.run_history import Run, RunDetails, RunHistory

app = typer.Typer(help="List, inspect and compare retrainings, including refused ones.", no_args_is_help=True)

Pipeline = Annotated[str | None, typer.Option(help="Name of the pipeline. Default: the only one.")]
RunId = Annotated[str, typer.Argument(help="Run as shown by `mlops runs list`, its version, or latest.")]
Step = Literal["set", "process", "train", "rows", "answers", "champion-rows", "champion-answers", "predict", "evaluate"]

_CANDIDATE = "candidate"
_BARS = "▁▂▃▄▅▆▇█"
_BARS_WIDE = 40


@app.command(name="list")
def list_(
    pipeline: Annotated[str | None, typer.Argument(help="Name of the pipeline. Default: the only one.")] = None,
    *,
    last: Annotated[int, typer.Option(help="Number of newest runs to list.", min=1, max=1000)] = 20,
    start: Annotated[
        datetime | None, typer.Option("--from", help="Only runs that began at this time (UTC) or later.")
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """List runs and refused requests: trigger, outcome, loss with that of each rival, version."""
    with account(profile, home) as aws:
        history = history_of(aws, pipeline)
        found = history.runs(last=last, since=None if start is None else start.replace(tzinfo=UTC))
    if as_json:
        print_json([run_document(run) for run in found])
        return
    if not found:
        name = history.pipeline.pipeline
        typer.echo(f'{name} has no run yet; start one: mlops train {name} --reason "..."')
        return
    rows = [
        (run.id, _minute(run.at), _requester(run), outcome_of(run), _took(run), _losses(run), _why(run))
        for run in found
    ]
    print_table(["run", "began", "requested by", "outcome", "took", "loss", "reason"], rows, whole_words=True)


@app.command()
def show(
    run: RunId, pipeline: Pipeline = None, as_json: AsJson = False, profile: Profile = None, home: Home = None
) -> None:
    """Show a run: jobs, hyperparameters, training metrics written by the script, losses, and each check of the gate."""
    from mlops_runtime.retraining.run_comparison import RunError

    with account(profile, home) as aws, shown(RunError):
        found = history_of(aws, pipeline).run(run)
    answer(_details_document(found), visible("\n".join(_details(found))), as_json=as_json)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Reference run or version, or latest.")],
    second: Annotated[str, typer.Argument(help="Run or version to compare with it, or latest.")],
    *,
    pipeline: Pipeline = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Compare two runs on one holdout, with the gate's confidence interval. Runs with different holdout rows are refused."""
    from mlops_runtime.retraining.run_comparison import RunError

    with account(profile, home) as aws, shown(RunError):
        found = history_of(aws, pipeline).compare(first, second)
    answer({**to_dict(found), "verdict": found.verdict}, "\n".join(_comparison(found)), as_json=as_json)


@app.command()
def logs(
    run: RunId,
    *,
    step: Annotated[
        Step | None, typer.Option(help="Job. Default: train; for a model trained elsewhere, evaluate.")
    ] = None,
    last: Annotated[int, typer.Option(help="Number of newest lines to print.", min=1)] = 1000,
    pipeline: Pipeline = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Print the log of a run's job."""
    from mlops_runtime.retraining.run_comparison import RunError

    with account(profile, home) as aws, shown(RunError):
        lines = list(history_of(aws, pipeline).log(run, step, last=last))
    answer({"run": run, "lines": lines}, visible("\n".join(lines)), as_json=as_json)


def history_of(aws: Account, pipeline: str | None) -> "RunHistory":
    """Return the run history of a pipeline; ``None`` stands for the only pipeline."""
    from mlops_runtime.retraining.run_history import RunHistory

    entries = Entries(ssm=aws.client("ssm"))
    entry = entries.pipeline(pipeline)
    return RunHistory(client=aws.client, unit=entries.unit(entry.unit), pipeline=entry)


def outcome_of(run: "Run") -> str:
    """Return the outcome of a run in one line.

    Example:
        >>> from mlops_runtime.contracts.retraining import Decision
        >>> from mlops_runtime.retraining.run_history import Run
        >>> outcome_of(Run(id="e", pipeline="p", at="2017-08-01T09:00:00Z", outcome="REFUSED", decision=Decision.COOLING_DOWN,
        ...                free_at="2017-08-01T14:20:00Z", times=3))
        'REFUSED COOLING_DOWN 3 times, free at 14:20'
    """
    if run.decision is not None:
        times = "" if run.times == 1 else f" {run.times} times"
        free = "" if run.free_at is None else f", free at {_free(run.at, run.free_at)}"
        return f"REFUSED {run.decision.value}{times}{free}"
    if run.version is not None:
        return f"{run.outcome} as {run.version}, {run.approval}"
    return run.outcome


def run_document(run: "Run") -> dict[str, object]:
    """Return the JSON form of a run."""
    return {**to_dict(run), "version": run.version}


def _details_document(found: "RunDetails") -> dict[str, object]:
    evaluation = found.evaluation
    measured = None
    if evaluation is not None:  # without losses per block, which are large and only needed by the gate
        measured = {
            "metric": evaluation.metric,
            "metrics": evaluation.metrics,
            "rows": evaluation.rows,
            "holdout_from": evaluation.holdout_from,
            "holdout_until": evaluation.holdout_until,
            "training_set_id": evaluation.training_set_id,
            "model_sha256": evaluation.model_sha256,
        }
    return {
        **run_document(found.run),
        "steps": to_dict(found.steps),
        "hyperparameters": dict(found.hyperparameters),
        "training": to_dict(found.training),
        "evaluation": to_dict(measured),
        "gate": to_dict(found.gate),
    }


def _details(found: "RunDetails") -> Iterator[str]:
    run = found.run
    yield f"{run.id} of {run.pipeline}: {outcome_of(run)}"
    yield f"  requester  {_requester(run)}" + (f": {run.detail}" if run.detail else "")
    yield f"  began      {_minute(run.at)} UTC" + (f", took {_took(run)}" if run.seconds is not None else "")
    if run.package is not None:
        yield f"  package    {run.package.rpartition(':model-package/')[2]} ({run.approval})"
    for index, part in enumerate(run.reason.split("; ") if run.reason else ()):
        yield f"  {'reason' if index == 0 else '':<11}{part}"
    if found.evaluation is not None:
        of = found.evaluation
        yield f"  losses     {of.metric} on {of.rows} rows from {of.holdout_from} to {of.holdout_until}"
        yield from (f"    {name:<20} {loss:.4g}" for name, loss in _ordered(of.metrics))
        yield f"  set        {of.training_set_id}"
    for index, step in enumerate(found.steps):
        took = "" if step.seconds is None else f" in {_seconds(step.seconds)}"
        failure = "" if step.failure is None else f": {step.failure.splitlines()[0]}"
        yield f"  {'steps' if index == 0 else '':<11}{step.step} {step.status}{took}{failure}"
    for index, (name, value) in enumerate(found.hyperparameters.items()):
        yield f"  {'given' if index == 0 else '':<11}{name} = {value}"
    if found.training is not None:
        yield from _training(found.training)
    for index, check in enumerate(found.gate.checks if found.gate is not None else ()):
        yield f"  {'gate' if index == 0 else '':<11}{'passed' if check.passed else 'FAILED'}  {check.reason}"


def _training(found: "TrainingMetrics") -> Iterator[str]:
    yield "  training   as written by the script"
    yield from (f"    {name:<20} {value:.6g}" for name, value in sorted(found.metrics.items()))
    for name, values in sorted(found.curves.items()):
        known = [(step, value) for step, value in zip(found.steps, values, strict=True) if value is not None]
        if not known:
            continue
        at, least = min(known, key=lambda each: each[1])
        yield (
            f"    {name:<20} {known[0][1]:.6g} to {known[-1][1]:.6g} over {len(known)} of {found.step}, "
            f"least {least:.6g} at {at:g}  {_bars([value for _, value in known])}"
        )
    yield from (f"    not read: {problem}" for problem in found.problems)


def _comparison(found: "RunComparison") -> Iterator[str]:
    yield (
        f"{found.verdict}: {found.metric} of {found.second} is {found.difference:+.1%} against {found.first}, between "
        f"{found.low:+.1%} and {found.high:+.1%} ({found.confidence:.0%}, {found.rows} rows)"
    )
    losses = {found.first: found.first_loss, found.second: found.second_loss, **found.rivals}
    yield from (f"  {name:<24} {loss:.4g}" for name, loss in losses.items())
    if found.segments:
        yield f"{'by segment':<26} {'rows':>9} {found.first:>24} {found.second:>24}"
        for part in found.segments:
            yield f"  {part.segment:<24} {part.rows:>9} {part.first:>24.4g} {part.second:>24.4g}"
    if found.hyperparameters:
        yield "hyperparameters that differ"
        yield from _pairs(found.hyperparameters)
    if found.training:
        yield "training, as written by the scripts"
        yield from _pairs(
            {
                name: tuple(None if value is None else f"{value:.6g}" for value in values)
                for name, values in found.training.items()
            }
        )


def _pairs(values: Mapping[str, Sequence[str | None]]) -> Iterator[str]:
    for name, pair in values.items():
        yield f"  {name:<24} {' -> '.join('-' if value is None else value for value in pair)}"


def _bars(values: Sequence[float]) -> str:
    """Return a curve as a sparkline."""
    wide = min(len(values), _BARS_WIDE)
    chosen = [values[index * len(values) // wide] for index in range(wide)]
    low, span = min(chosen), max(chosen) - min(chosen)
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1)) if span else 0] for value in chosen)


def _ordered(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(metrics.items(), key=lambda each: (each[0] != _CANDIDATE, each[0] != "champion", each[0]))


def _losses(run: "Run") -> str:
    if not run.metrics:
        return ""
    (_, own), *rivals = _ordered(run.metrics)
    against = ", ".join(f"{name} {loss:.4g}" for name, loss in rivals)
    return f"{run.metric} {own:.4g}" + (f" ({against})" if against else "")


def _requester(run: "Run") -> str:
    if run.trigger is None:
        return "unknown"
    return run.trigger.value if run.who in (None, "aws.events", "aws.scheduler") else f"{run.trigger.value} {run.who}"


def _why(run: "Run") -> str:
    return run.detail or "" if run.outcome == "REGISTERED" else run.reason.partition("; ")[0]


def _took(run: "Run") -> str:
    return "" if run.seconds is None else _seconds(run.seconds)


def _seconds(seconds: float) -> str:
    """Return a duration in seconds, minutes, or hours and minutes.

    Example:
        >>> [_seconds(seconds) for seconds in (42, 600, 7300)]
        ['42 s', '10 min', '2 h 2 min']
    """
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _minute(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"


def _free(at: str, free: str) -> str:
    day, _, time = _minute(free).partition(" ")
    return time if _minute(at).startswith(day) else f"{day} {time}"
