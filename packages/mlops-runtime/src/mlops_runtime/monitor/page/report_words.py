"""A report in words: its states, for the page, the command and the console, and its lines of text for the last two."""

from collections.abc import Iterator

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import FeatureDrift, MonitorReport, monitor_states
from mlops_runtime.monitor import wording
from mlops_runtime.monitor.monitors.drift import feature_words
from mlops_runtime.monitor.monitors.monitor_kind import StateText
from mlops_runtime.monitor.monitors.monitor_table import MONITORS
from mlops_runtime.monitor.report_message import are_many, problem_place, problems, short_flaw
from mlops_runtime.monitor.wording import number, seconds

ENGINES = {
    "LAMBDA": "counted by a function as captures arrived",
    "PROCESSING": "counted by a SageMaker Processing job",
    "SAGEMAKER_MODEL_MONITOR": "SageMaker Model Monitor",
}

_SILENT = {
    MonitorState.NOT_YET_DEPLOYED: StateText(
        "unknown", "not deployed", "no model is live yet", "nothing: the first approval deploys one"
    ),
    MonitorState.NO_TRAFFIC: StateText(
        "unknown", "no traffic", "the endpoint got no requests in the window", "ask the callers, if calls were expected"
    ),
    MonitorState.NO_CAPTURE: StateText(
        "bad",
        "no capture",
        "there were calls, but none was captured",
        "check the endpoint's data capture and its permission to write to the bucket",
    ),
    MonitorState.NO_LABELS_YET: StateText(
        "unknown", "no labels yet", "no label arrived in the window", "check the feed of labels, if they are due"
    ),
    MonitorState.BASELINE_OLDER_THAN_MODEL: StateText(
        "bad",
        "baseline of another model",
        "the baseline does not belong to the live model",
        "deploy a model package whose evaluation wrote a baseline",
    ),
    MonitorState.MONITOR_NOT_RUN: StateText(
        "bad",
        "not monitored",
        "more than a tenth of the newest captures are not counted",
        "check the log and dead-letter queue of the counting function, fix the cause, redrive the queue",
    ),
    MonitorState.INSUFFICIENT_DATA: StateText(
        "unknown",
        "too few rows",
        "too few rows, or none that can be compared",
        "nothing: earlier hours are added until there are enough rows",
    ),
}
TONES = {state: text.tone for state, text in _SILENT.items()} | {MonitorState.OK: "good", MonitorState.VIOLATION: "bad"}


def state_text(monitor: str, state: MonitorState, *, flaw: str | None = None) -> StateText:
    """Return the wording of a monitor's state.

    Args:
        monitor: ``drift``, ``quality``, ``estimates``, ``bias``, ``explainability`` or ``latency``.
        state: The monitor's state.
        flaw: Why the baseline cannot be used. Default: it can.

    Example:
        >>> state_text("drift", MonitorState.NO_TRAFFIC).means
        'the endpoint got no requests in the window'
    """
    if state is MonitorState.MONITOR_NOT_RUN and flaw is not None:
        return StateText(
            "bad",
            "baseline unusable",
            short_flaw(flaw),
            "find out who changed or removed it, and restore the approved version",
        )
    if state is MonitorState.OK:
        return StateText("good", "holds", MONITORS[monitor].holds)
    if state is MonitorState.VIOLATION:
        return StateText("bad", "violated", *MONITORS[monitor].violated)
    return _SILENT[state]


def monitor_text(report: MonitorReport, monitor: str) -> StateText:
    """Return the wording of a monitor's state in a report, with the details that the report contains."""
    result = getattr(report, monitor)
    return MONITORS[monitor].meaning(result, report) or state_text(monitor, result.state, flaw=report.baseline_flaw)


def tone(report: MonitorReport) -> str:
    """Return the worst tone of a report: ``bad``, or ``warn`` for many problems or features that were not fully tested.

    Otherwise it is ``good`` if a monitor, not counting estimates, is OK, else ``unknown``.
    """
    tones = [TONES[state] for monitor, state in monitor_states(report).items() if monitor != "estimates"]
    if report.baseline_flaw is not None or "bad" in tones:
        return "bad"
    scrutiny = report.drift.scrutiny
    if are_many(report) or (scrutiny is not None and (scrutiny.untested or scrutiny.in_part)):
        return "warn"
    return "good" if "good" in tones else "unknown"


def verdict(report: MonitorReport) -> str:
    """Return a report's verdict with times to the second and a short reason for an unusable baseline."""
    flaw = report.baseline_flaw
    return seconds(report.verdict if flaw is None else report.verdict.replace(flaw, short_flaw(flaw)))


def engine_text(report: MonitorReport) -> str:
    """Return the engine, and the analyzer that replaced AWS's image, if any; empty without an engine in the report."""
    if report.engine is None:
        return ""
    stand_in = "" if report.analyzer is None else f", run by {report.analyzer} in place of AWS's image"
    return f"{ENGINES[report.engine]}{stand_in}"


def report_lines(report: MonitorReport) -> Iterator[str]:
    """Yield the lines of a report that precede its features."""
    span = f"{wording.moment(report.window_from)} to {wording.moment(report.window_until)} UTC"
    yield f"{report.endpoint} {report.variant}, {span}: {report.rows:,} rows"
    yield verdict(report)
    if report.baseline_flaw is not None:
        yield f"  {report.baseline_flaw}"
    if report.engine is not None:
        yield f"  {'engine':<14} {engine_text(report)}"
    for monitor, state in monitor_states(report).items():
        words = monitor_text(report, monitor)
        do = f"; do: {words.do}" if words.do and words.tone != "good" else ""
        yield f"  {monitor:<14} {state.value:<17} {words.means}{do}"
    if report.suppressed is not None:
        yield f"  drift was not published: {seconds(report.suppressed)}"
    for name, times in problems(report):
        where = problem_place(report, name)
        yield f"  problem        {times:,} x {name}{f', the newest in {where}' if where else ''}"


def feature_lines(report: MonitorReport, drift: FeatureDrift) -> Iterator[str]:
    """Yield the lines of one feature that precede its distribution."""
    _, word = feature_words.drift_word(drift, suppressed=report.suppressed is not None)
    span = f"{wording.moment(report.window_from)} to {wording.moment(report.window_until)} UTC"
    yield f"{drift.name} of {report.endpoint}, {span}: {word}"
    if drift.description is not None:
        yield f"  {drift.description}"
    yield f"  do: {feature_words.what_to_do(drift)}"
    numbers = [("Jensen-Shannon", drift.jensen_shannon), ("L-infinity", drift.l_infinity)]
    numbers += [("Wasserstein", drift.wasserstein), ("mean moved, in sd", drift.mean_shift)]
    shown = [f"PSI {feature_words.psi_text(drift)}"] if feature_words.has_psi(drift) else []
    shown += [f"{name} {number(value)}" for name, value in numbers if value is not None]
    rule = "" if drift.rule is None else f", by the rule {drift.rule.replace('_', ' ')}"
    yield f"  {', '.join([*shown, f'p-value {wording.p_text(drift.p_value)}'])}{rule}"
    for name, rate in (("nulls", drift.null_rate), ("new", drift.new_rate)):
        if rate is not None:
            was = "" if rate.baseline is None else f", was {wording.value_text(rate, rate.baseline)}"
            yield f"  {name} {wording.interval_text(rate)}{was}"
