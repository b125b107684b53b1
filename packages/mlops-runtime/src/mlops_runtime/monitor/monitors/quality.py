"""The quality monitor: compares metrics of labelled predictions with limits and the holdout. `label_measures` computes them."""

from collections.abc import Iterator

from mlops_runtime.contracts.monitor import TESTED, Baseline, MetricValue, MonitorState, Violation
from mlops_runtime.contracts.monitor_report import Measured, MonitorReport, QualityResult
from mlops_runtime.monitor.cloudwatch_metrics import PUBLISHED_OF_CLASSES, camel, quality_names
from mlops_runtime.monitor.monitors.label_measures import measure
from mlops_runtime.monitor.monitors.monitor_kind import DATASET, NAMED, SILENT, MonitorKind, judged
from mlops_runtime.monitor.monitors.quality_metrics import metric_of
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import interval, number

# primary metrics: the first one that was measured is shown
_PRIMARY = ("wape", "auc", "macro_recall", "rmse", "brier", "macro_log_loss")
# losses whose ratio to the holdout's the alarm ``Quality`` uses: WAPE, or the macro log loss of classes
_LOSSES = ("wape", "macro_log_loss")
_UNJUDGED = "no metric has both an interval and a limit from quality_limits or the holdout"


def _measure(evidence: Evidence, _window: Window, spec: MonitorSpec) -> QualityResult:
    if evidence.labels is None or evidence.baseline is None:
        return QualityResult()
    return measure(evidence.labels, evidence.baseline, spec)


def _state(result: QualityResult, _evidence: Evidence, spec: MonitorSpec) -> MonitorState:
    if result.rows == 0 and result.unjudged is None:
        return MonitorState.NO_LABELS_YET
    return MonitorState.INSUFFICIENT_DATA if result.rows < spec.minimum_labels else judged(result.metrics)


def _metrics(result: QualityResult, report: MonitorReport) -> Iterator[MetricValue]:
    spec, measured = report.spec, result.metrics
    yield MetricValue("quality", "SampleCount", result.rows)
    # metrics are published even if none has a limit
    is_enough = result.state is MonitorState.INSUFFICIENT_DATA and result.rows >= spec.minimum_labels
    if result.state not in TESTED and not is_enough:
        return
    values = {**{metric.name: metric.value for metric in measured if metric.value is not None}, **result.values}
    for name in dict.fromkeys((*quality_names(spec), "wape_ratio", *PUBLISHED_OF_CLASSES)):
        if name in values:
            yield MetricValue("quality", camel(name), values[name])
    loss = next((metric for metric in measured if metric.name in _LOSSES), None)
    if loss is not None and loss.low is not None and loss.baseline:
        if loss.name != "wape" and loss.value is not None:
            yield MetricValue("quality", "WapeRatio", loss.value / loss.baseline)
        yield MetricValue("quality", "WapeRatioLow", loss.low / loss.baseline)
    yield MetricValue("quality", "QualityViolations", sum(bool(metric.violated) for metric in measured))


def _violations(result: QualityResult, _evidence: Evidence, _spec: MonitorSpec) -> Iterator[Violation]:
    for metric in result.metrics:
        if not metric.violated:
            continue
        is_less = metric_of(metric.name).higher_is_better
        check = "LessThanThreshold" if is_less else "GreaterThanThreshold"
        within = "" if metric.low is None or metric.high is None else f" ({metric.low:.4g} to {metric.high:.4g})"
        yield Violation(
            feature_name=DATASET,
            constraint_check_type=check,
            description=f"Metric {metric.name} with {metric.value}{within} was {check} '{metric.limit}'",
            metric_name=metric.name,
        )


def _sentence(result: QualityResult, report: MonitorReport) -> Iterator[str]:
    state, minimum = result.state, report.spec.minimum_labels
    if state is MonitorState.NO_LABELS_YET:
        yield "no labels yet"
    elif state is MonitorState.INSUFFICIENT_DATA and result.unjudged is not None:
        yield f"quality is not evaluated: {result.unjudged}"
    elif state is MonitorState.INSUFFICIENT_DATA and result.rows < minimum:
        few = f"{result.rows:,} labelled rows are too few to decide about quality"
        yield f"{few}, {minimum} are needed"
    elif state is MonitorState.INSUFFICIENT_DATA:
        yield f"quality of {result.rows:,} labelled rows is not evaluated: {_UNJUDGED}"
    elif state not in TESTED:
        yield f"quality is unknown: {SILENT.get(state, str(state))}"
    else:
        yield _judged_sentence(result)


def _judged_sentence(result: QualityResult) -> str:
    measured = result.metrics
    is_violated = result.state is MonitorState.VIOLATION
    violated = [metric for metric in measured if metric.violated]
    first = [next((metric for name in _PRIMARY for metric in measured if metric.name == name), None)]
    shown = violated[:NAMED] if is_violated and violated else [metric for metric in first if metric is not None]
    metrics = "; ".join(map(_metric, shown))
    summary = "quality fell" if is_violated else "quality holds"
    return f"{summary} ({metrics})" if metrics else summary


def _metric(metric: Measured) -> str:
    name = metric.name.upper() if len(metric.name) <= 4 else metric.name.replace("_", " ")
    against = "" if metric.baseline is None else f"; holdout {number(metric.baseline)}"
    return f"{name} {interval(metric)}{against if metric.violated else ''}"


def _happened(result: QualityResult, _report: MonitorReport) -> Iterator[str]:
    return (_metric(metric) for metric in result.metrics if metric.violated)


def _advice(result: QualityResult, _report: MonitorReport) -> Iterator[str]:
    if result.state is MonitorState.VIOLATION:
        yield "check that the labels are correct; then retrain the model, or roll back"


def _section(result: QualityResult, _baseline: Baseline | None) -> QualityResult | None:
    return result if result.metrics or result.values or result.segments or result.rows else None


QUALITY = MonitorKind(
    name="quality",
    measure=_measure,
    state=_state,
    metrics=_metrics,
    violations=_violations,
    sentence=_sentence,
    happened=_happened,
    advice=_advice,
    section=_section,
    holds="the model is within its limits",
    violated=(
        "the model is worse than allowed",
        "check that the labels are correct, then retrain; roll back if it began with a promotion",
    ),
)
