"""``mlops monitor``: reports of a monitor, explanations of features, replays, and metrics for Prometheus and Grafana."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from botocore.exceptions import ClientError

from mlops_cli import monitor_baseline, monitor_replay
from mlops_cli.answers import AsJson, answer, optional_first, print_json
from mlops_cli.aws_account import Profile, UserError, VerdictError, writing
from mlops_cli.local import Home
from mlops_cli.monitor_place import NEWEST, Endpoint, WindowEnd, watched
from mlops_cli.monitor_tables import print_distribution, print_features, print_history
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import AuditRecord
from mlops_runtime.refused_calls import DENIED, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_runtime.contracts.monitor_report import FeatureDrift, MonitorReport
    from mlops_runtime.monitor.archive import Kept
    from mlops_runtime.monitor.page.drawings import CellRow
    from mlops_runtime.monitor.watched_endpoint import Watched

app = typer.Typer(help="Show monitor reports and replay thresholds.", no_args_is_help=True)

_HISTORY = 29  # reports before the requested window


@app.command()
def report(
    endpoint: Endpoint = None,
    *,
    window: WindowEnd = NEWEST,
    output: Annotated[
        Path | None, typer.Option(help="HTML page to write. Default: monitor.html; with --json none.")
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show a window: verdict, state of each monitor, features by evidence; and write it as one self-contained HTML page.

    Exit 3 if a monitor's limit is violated, for example by drift.
    """
    with watched(endpoint, profile, home) as found:
        from mlops_runtime.contracts.monitor import MonitorState
        from mlops_runtime.contracts.monitor_report import monitor_states
        from mlops_runtime.monitor.page.report_words import report_lines
        from mlops_runtime.monitor.report_message import short_flaw

        window_report = found.report(window)
        path = Path("monitor.html") if output is None and not as_json else output
        kept = None if path is None else found.archive.kept(window_report)
        unread = ""
        if path is not None and kept is not None:
            records, unread = _records(found)
            _write(path, kept, found.archive.history(window_report, most=_HISTORY), records)
        is_violated = MonitorState.VIOLATION in monitor_states(window_report).values()
    if as_json:
        print_json(to_dict(window_report))
    else:
        for line in report_lines(window_report):
            typer.echo(line)
        print_features(window_report)
        if kept is not None and kept.problem:
            typer.echo(f"the page has no distributions: {short_flaw(kept.problem)}")
        if unread:
            typer.echo(f"the page has no promotions, rollbacks and pauses: {unread}")
        typer.echo(f"page: {path}")
    if is_violated:
        raise typer.Exit(VerdictError.code)


@app.command()
def explain(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Endpoint, required if there are several, and feature as shown by `report`.",
            metavar="[ENDPOINT] FEATURE",
        ),
    ],
    *,
    window: WindowEnd = NEWEST,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Explain one feature: the shift and what to do, its distribution next to the baseline's, its history."""
    endpoint, feature = optional_first(names, "[ENDPOINT] FEATURE")
    with watched(endpoint, profile, home) as found:
        window_report = found.report(window)
        drift = _feature(window_report, feature)
        kept = found.archive.kept(window_report)
        history = found.archive.history(window_report, most=_HISTORY)
        rows = _rows(kept, drift.name)
    past = [
        (each, one)
        for each in reversed([window_report, *history])
        for one in each.drift.features
        if one.name == drift.name
    ]
    from mlops_runtime.monitor.page.report_words import feature_lines
    from mlops_runtime.monitor.report_message import short_flaw

    lines = list(feature_lines(window_report, drift))
    if as_json:
        shown = {
            "endpoint": window_report.endpoint,
            "window_until": window_report.window_until,
            "feature": to_dict(drift),
            "lines": lines,
            "distribution": to_dict(rows),
            "problem": "" if rows else short_flaw(kept.problem) or "its bins cannot be compared",
            "history": [
                {"window_until": each.window_until, "psi": one.psi, "drifted": one.drifted} for each, one in past
            ],
        }
        print_json(shown)
        return
    for line in lines:
        typer.echo(line)
    if rows:
        print_distribution(rows)
    elif kept.problem:
        typer.echo(f"no distribution: {kept.problem}")
    if len(past) > 1:
        print_history(past)


@app.command()
def metrics(endpoint: Endpoint = None, *, as_json: AsJson = False, profile: Profile = None, home: Home = None) -> None:
    """Print the newest window's metrics as Prometheus text, for node_exporter's textfile directory or a sidecar."""
    with watched(endpoint, profile, home) as found:
        text = found.archive.metrics()
        if text is None:
            raise UserError(
                f"the monitor of {found.endpoint} has written no metrics yet; it writes them with each report, on its schedule"
            )
    if as_json:
        print_json({"endpoint": found.endpoint, "text": text})
    else:
        typer.echo(text, nl=False)


@app.command()
def dashboard(*, as_json: AsJson = False) -> None:
    """Print a Grafana dashboard for these metrics, for import or provisioning."""
    try:
        from mlops_runtime.monitor.prometheus_metrics import grafana_dashboard as made
    except ImportError as error:
        raise UserError(f"mlops monitor needs {error.name}; run: pip install 'mlops-runtime[monitor]'") from error
    answer(made(), json.dumps(made(), indent=2), as_json=as_json)


app.command()(monitor_replay.replay)
app.command()(monitor_baseline.baseline)


def _records(found: "Watched") -> "tuple[Sequence[AuditRecord], str]":
    """Return the audit records of an endpoint and its unit; without read access none, and the reason."""
    try:
        return found.records(), ""
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        return (), refusal(error.response["Error"], error.operation_name)


def _write(path: Path, kept: "Kept", history: "Sequence[MonitorReport]", records: "Sequence[AuditRecord]") -> None:
    from mlops_runtime.monitor.page.window_page import page

    window_report = kept.report
    text = page(window_report, baseline=kept.baseline, counts=kept.counts, history=history, records=records)
    with writing(path):
        path.write_text(text, encoding="utf-8")


def _feature(report: "MonitorReport", name: str) -> "FeatureDrift":
    found = next((feature for feature in report.drift.features if feature.name == name), None)
    if found is not None:
        return found
    reason = (report.drift.left_out or {}).get(name)
    if reason is not None:
        raise UserError(f"{name} is counted but not tested: {reason}")
    names = sorted(feature.name for feature in report.drift.features)
    if not names:
        raise UserError(
            f"the window until {report.window_until} tested no feature, its drift is {report.drift.state.value}; "
            "name another with --window"
        )
    meant = monitor_replay.meant(name, names)
    raise UserError(f"{report.endpoint} has no feature {name!r}, it has {', '.join(names)}{meant}")


def _rows(kept: "Kept", name: str) -> "tuple[CellRow, ...]":
    from mlops_runtime.monitor.page.drawings import distribution

    return () if kept.baseline is None or kept.counts is None else distribution(kept.baseline, kept.counts, name)
