"""What people read of a report: states in words, and the order of evidence. Shared by the page and the command."""

from collections.abc import Sequence

from mlops_runtime.contracts.monitor import TESTED, MonitorState
from mlops_runtime.contracts.monitor_report import FeatureDrift, MonitorReport, monitor_states
from mlops_runtime.monitor.monitors.drift.decision import UNREADABLE
from mlops_runtime.monitor.monitors.monitor_kind import StateText
from mlops_runtime.monitor.monitors.monitor_table import MONITORS
from mlops_runtime.monitor.report_message import are_many, short_flaw
from mlops_runtime.monitor.wording import number, seconds

NO_PAIRS = "marginals only: joint changes are not watched"
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
        "nobody called the endpoint in the window",
        "ask the callers, if calls were expected",
    ),
    MonitorState.NO_CAPTURE: StateText(
        "bad",
        "no capture",
        "there were calls, and none of them was captured",
        "look at the endpoint's data capture and at who may write to its bucket",
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
        "read the log and the dead letters of the counting function, mend the cause, redrive the queue",
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
        monitor: ``drift``, ``quality``, ``bias``, ``explainability`` or ``latency``.
        state: Its state.
        flaw: Why the baseline cannot be used. Default: it can.

    Example:
        >>> state_text("drift", MonitorState.NO_TRAFFIC).means
        'nobody called the endpoint in the window'
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
    """Return the worst tone of a report: ``bad``, ``warn`` for many problems, ``good`` if anything was tested, else ``unknown``."""
    tones = [TONES[state] for state in monitor_states(report).values()]
    if report.baseline_flaw is not None or "bad" in tones:
        return "bad"
    if are_many(report):
        return "warn"
    return "good" if "good" in tones else "unknown"


def verdict(report: MonitorReport) -> str:
    """Return the report in a sentence: its own, or one made of its states; what is wrong with a baseline in short."""
    flaw = report.baseline_flaw
    if report.verdict:
        return seconds(report.verdict if flaw is None else report.verdict.replace(flaw, short_flaw(flaw)))
    if flaw is not None:
        return f"nothing is decided, {short_flaw(flaw)}"
    drifted = [feature.name for feature in ranked(report.drift.features) if feature.drifted]
    parts = []
    for monitor, state in monitor_states(report).items():
        if monitor == "drift" and drifted:
            names = ", ".join(drifted[:3]) + (f" and {len(drifted) - 3} more" if len(drifted) > 3 else "")
            parts.append(f"{len(drifted)} of {len(report.drift.features)} features drifted: {names}")
        elif state in TESTED:
            parts.append(f"{monitor} {state_text(monitor, state).word}")
        else:
            parts.append(f"{monitor} unknown, {state_text(monitor, state).means}")
    return "; ".join(parts)


def engine_text(report: MonitorReport) -> str:
    """Return what counted, and what stood in for AWS's image where something did; empty where the report does not say."""
    if report.engine is None:
        return ""
    stand_in = "" if report.analyzer is None else f", run by {report.analyzer} in place of AWS's image"
    return f"{ENGINES[report.engine]}{stand_in}"


def ranked(features: Sequence[FeatureDrift]) -> list[FeatureDrift]:
    """Return features by evidence: persistent drift, drift in this window, small p-values, large shifts; untested ones last.

    Example:
        >>> a, b = (FeatureDrift(name=n, psi=0.1, p_value=p, drifted=p < 0.01) for n, p in (("a", 0.5), ("b", 0.001)))
        >>> [feature.name for feature in ranked([a, b])]
        ['b', 'a']
    """
    return sorted(
        features,
        key=lambda f: (f.untested is not None, not f.persistent, not f.drifted, f.p_value, -f.psi, f.name),
    )


def drift_word(feature: FeatureDrift, *, suppressed: bool = False) -> tuple[str, str]:
    """Return tone and words of one feature's verdict.

    Example:
        >>> drift_word(FeatureDrift(name="price", psi=0.2, p_value=1e-9, drifted=True, persistent=False))
        ('warn', 'in this window')
    """
    if feature.untested is not None:
        return "unknown", "not tested"
    if not feature.drifted:
        return ("warn", "in earlier windows") if feature.persistent else ("good", "holds")
    if suppressed:
        return "warn", "during a rollout"
    return ("warn", "in this window") if feature.persistent is False else ("bad", "drifted")


def told_text(feature: FeatureDrift) -> str:
    """Return what happened to a feature; of one that holds, that it is not enough.

    Example:
        >>> moved = FeatureDrift(name="price", psi=0.2, p_value=0.1, drifted=False, description="mean rose from 4 to 5")
        >>> told_text(moved)
        'mean rose from 4 to 5, not enough to call it drift'
    """
    if feature.untested is not None:
        return feature.untested
    if feature.description is None or feature.drifted:
        return feature.description or ""
    return f"{feature.description}, not enough to call it drift"


def what_to_do(feature: FeatureDrift) -> str:
    """Return what a person does about a feature, by the rule that gave its p-value."""
    if feature.untested is not None:
        return f"nothing can be said: {feature.untested}"
    if not feature.drifted:
        return "nothing: it holds"
    first = {
        "null_share": "ask the feed's owner why values are missing",
        "new_level": "check whether the new levels are meant; the model has never seen them",
        "out_of_range": "check units and defaults at the source; the model has never seen such values",
        "type": "check how the value is written at the source: a decimal comma makes text of a number",
        UNREADABLE: "ask the callers what they changed; rows must have the columns of the model's inputs",
        "association": "check how the two columns are joined or computed: each alone may look as ever",
        "mean": "check units, currency and price lists at the source",
        "quantile": "check units, currency and price lists at the source",
        "spread": "check whether the feed mixes sources or units now, or gives one where it gave several",
    }.get(feature.rule or "", "compare the feed with its source")
    if feature.persistent is False:
        return f"{first}; it alarms if the next windows agree"
    if feature.rule in ("type", UNREADABLE):
        return f"{first}; no training helps"
    return f"{first}; if the world has changed, retrain"


def has_psi(feature: FeatureDrift) -> bool:
    """Return whether a feature has a PSI: SageMaker Model Monitor gives none, and what was not tested has none either."""
    return feature.rule not in ("model_monitor", UNREADABLE) and feature.untested is None


def psi_text(feature: FeatureDrift) -> str:
    """Return a feature's PSI to three decimals; empty where it has none.

    Example:
        >>> [psi_text(FeatureDrift(name="price", psi=psi, p_value=1.0, drifted=False)) for psi in (0.0, 0.0002, 0.3104)]
        ['0', 'below 0.001', '0.31']
    """
    if not has_psi(feature):
        return ""
    return "below 0.001" if 0 < feature.psi < 0.001 else number(round(feature.psi, 3))
