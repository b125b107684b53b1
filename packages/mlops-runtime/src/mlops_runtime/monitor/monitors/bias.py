"""The bias monitor: compares bias metrics by facet with the baseline's."""

from collections.abc import Iterator

from mlops_runtime.contracts.monitor import TESTED, Baseline, MetricValue, MonitorState, Violation
from mlops_runtime.contracts.monitor_report import BiasMetric, BiasResult, MonitorReport
from mlops_runtime.monitor.monitors import classes, facet_bias
from mlops_runtime.monitor.monitors.classification import usable_rows
from mlops_runtime.monitor.monitors.label_join import captured_facets
from mlops_runtime.monitor.monitors.monitor_kind import NAMED, MonitorKind, judged, more, silence
from mlops_runtime.monitor.monitors.rows import Rows
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import interval


def _measure(evidence: Evidence, _window: Window, spec: MonitorSpec) -> BiasResult | None:
    baseline, labels = evidence.baseline, evidence.labels
    if baseline is None or not baseline.facets:
        return None
    if labels is None:
        return BiasResult()
    labelled, predicted = (
        _positive(rows, baseline) for rows in (usable_rows(labels.labelled, baseline), labels.predicted)
    )
    metrics = facet_bias.live(labelled, predicted, baseline, spec)
    captured = captured_facets(baseline)
    notes = [
        f"facet {facet.name!r} is not an input of the model: it is not captured, so its bias is known only for the holdout"
        for facet in baseline.facets
        if facet.name not in captured
    ]
    notes += facet_bias.unmeasured(metrics, predicted, baseline)
    return BiasResult(metrics=metrics, problems={f"quality: {note}": 1 for note in notes} or None)


def _positive(rows: Rows, baseline: Baseline) -> Rows:
    """Return rows as those of a binary classification; for a multiclass model, of its positive class."""
    if baseline.classes is None or baseline.positive_class not in baseline.classes:
        return rows
    return classes.one_class(rows, baseline.classes.index(baseline.positive_class))


def _state(result: BiasResult, evidence: Evidence, _spec: MonitorSpec) -> MonitorState:
    if not result.metrics:
        silent = silence(evidence.traffic)
        return MonitorState.INSUFFICIENT_DATA if silent is None else silent
    found = judged([each.metric for each in result.metrics])
    known = {each.facet for each in result.metrics if each.metric.violated is not None}
    captured = set() if evidence.baseline is None else captured_facets(evidence.baseline)
    if found is MonitorState.OK and captured - known:
        return MonitorState.INSUFFICIENT_DATA  # a captured facet without a verdict
    return found


def _metrics(result: BiasResult, _report: MonitorReport) -> Iterator[MetricValue]:
    if result.state in TESTED:
        yield MetricValue("bias", "BiasViolations", sum(bool(each.metric.violated) for each in result.metrics))


def _violations(result: BiasResult, _evidence: Evidence, _spec: MonitorSpec) -> Iterator[Violation]:
    return facet_bias.bias_violations(result.metrics)


def _sentence(result: BiasResult, report: MonitorReport) -> Iterator[str]:
    if result.state is MonitorState.OK:
        yield "bias holds"
    elif result.state is MonitorState.INSUFFICIENT_DATA:
        facets = sorted({each.facet for each in result.metrics if each.metric.violated is not None})
        yield f"bias holds by {', '.join(facets)} and is unknown for the others" if facets else "bias is unknown"
    yield from _happened(result, report)


def _happened(result: BiasResult, _report: MonitorReport) -> Iterator[str]:
    if result.state is MonitorState.VIOLATION:
        moved = [each for each in result.metrics if each.metric.violated]
        named = ", ".join(f"{m.metric.name} of {m.facet}={m.facet_value} {interval(m.metric)}" for m in moved[:NAMED])
        yield f"bias moved: {named}{more(len(moved))}"


def _advice(result: BiasResult, _report: MonitorReport) -> Iterator[str]:
    if result.state is MonitorState.VIOLATION:
        yield "ask the model's owner before training on these calls"


def _section(result: BiasResult, _baseline: Baseline | None) -> list[BiasMetric]:
    """Return violated metrics first, then those within limits, then those without a verdict."""
    return sorted(result.metrics, key=lambda each: (each.metric.violated is None, not each.metric.violated))


BIAS = MonitorKind(
    name="bias",
    measure=_measure,
    state=_state,
    metrics=_metrics,
    violations=_violations,
    sentence=_sentence,
    happened=_happened,
    advice=_advice,
    section=_section,
    holds="no facet is treated differently than in the baseline",
    violated=(
        "a facet is treated differently than in the baseline",
        "check the facet's metrics below with the model's owner",
    ),
)
