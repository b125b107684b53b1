"""What people read of a report: states in words. Shared by the page and the command."""

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import MonitorReport, monitor_states
from mlops_runtime.monitor.monitors.monitor_kind import StateText
from mlops_runtime.monitor.monitors.monitor_table import MONITORS
from mlops_runtime.monitor.report_message import are_many, short_flaw
from mlops_runtime.monitor.wording import seconds

ENGINES = {
    "LAMBDA": "counted by a function as captures arrived",
    "PROCESSING": "counted by a SageMaker Processing job",
    "SAGEMAKER_MODEL_MONITOR": "SageMaker Model Monitor",
}

_SILENT = {
    MonitorState.NOT_YET_DEPLOYED: StateText(
        "unknown", "not deployed", "no model serves yet", "nothing: the first approval deploys one"
    ),
    MonitorState.NO_TRAFFIC: StateText(
        "unknown",
        "no traffic",
        "the endpoint got no requests in the window",
        "ask the callers, if calls were expected",
    ),
    MonitorState.NO_CAPTURE: StateText(
        "bad",
        "no capture",
        "there were calls, and none of them was captured",
        "check the endpoint's data capture and who may write to its bucket",
    ),
    MonitorState.NO_LABELS_YET: StateText(
        "unknown",
        "no labels yet",
        "no label arrived in the window",
        "ask for the feed of labels, if they are due",
    ),
    MonitorState.BASELINE_OLDER_THAN_MODEL: StateText(
        "bad",
        "baseline is another's",
        "the baseline is not that of the model that serves",
        "deploy a model package whose evaluation made its baseline",
    ),
    MonitorState.MONITOR_NOT_RUN: StateText(
        "bad",
        "not watched",
        "more than a tenth of the newest captures are not counted",
        "read the log and the dead letters of the counting function, fix the cause, redrive the queue",
    ),
    MonitorState.INSUFFICIENT_DATA: StateText(
        "unknown",
        "too few rows",
        "too few rows, or none that can be compared",
        "nothing: hours are added until there are enough",
    ),
}
TONES = {state: said.tone for state, said in _SILENT.items()} | {MonitorState.OK: "good", MonitorState.VIOLATION: "bad"}


def state_text(monitor: str, state: MonitorState, *, flaw: str | None = None) -> StateText:
    """Return what a monitor's state means.

    Args:
        monitor: ``drift``, ``quality``, ``estimates``, ``bias``, ``explainability`` or ``latency``.
        state: Its state.
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
            "find out who changed or removed it, and put the approved version back",
        )
    if state is MonitorState.OK:
        return StateText("good", "holds", MONITORS[monitor].holds)
    if state is MonitorState.VIOLATION:
        return StateText("bad", "violated", *MONITORS[monitor].violated)
    return _SILENT[state]


def said(report: MonitorReport, monitor: str) -> StateText:
    """Return what a monitor's state means in a report: what is missing is named where the report knows it."""
    result = getattr(report, monitor)
    return MONITORS[monitor].meaning(result, report) or state_text(monitor, result.state, flaw=report.baseline_flaw)


def tone(report: MonitorReport) -> str:
    """Return the worst tone of a report: ``bad``; ``warn`` for many problems or features that were not wholly tested.

    Else it is ``good`` if anything was tested, which an estimate is not, else ``unknown``.
    """
    tones = [TONES[state] for monitor, state in monitor_states(report).items() if monitor != "estimates"]
    if report.baseline_flaw is not None or "bad" in tones:
        return "bad"
    scrutiny = report.drift.scrutiny
    if are_many(report) or (scrutiny is not None and (scrutiny.untested or scrutiny.in_part)):
        return "warn"
    return "good" if "good" in tones else "unknown"


def verdict(report: MonitorReport) -> str:
    """Return a report's verdict as people read it: times to the second, what is wrong with a baseline in short."""
    flaw = report.baseline_flaw
    return seconds(report.verdict if flaw is None else report.verdict.replace(flaw, short_flaw(flaw)))


def engine_text(report: MonitorReport) -> str:
    """Return what counted, and what stood in for AWS's image where something did; empty where the report does not say."""
    if report.engine is None:
        return ""
    stand_in = "" if report.analyzer is None else f", run by {report.analyzer} in place of AWS's image"
    return f"{ENGINES[report.engine]}{stand_in}"
