"""The monitor of bias: whether the groups of facets are treated as in the baseline."""

from collections.abc import Iterator

from mlops_runtime.contracts.monitor import TESTED, MetricValue, MonitorReport, MonitorState, Violation
from mlops_runtime.monitor.monitors.facet_bias import bias_violations
from mlops_runtime.monitor.monitors.monitor_kind import NAMED, MonitorKind, judged, more, silence
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import interval


def _state(evidence: Evidence, spec: MonitorSpec) -> MonitorState | None:
    del spec
    if evidence.baseline is None or not evidence.baseline.facets:
        return None
    metrics = () if evidence.quality is None else evidence.quality.bias_metrics
    if not metrics:
        silent = silence(evidence.traffic)
        return MonitorState.INSUFFICIENT_DATA if silent is None else silent
    found = judged([each.metric for each in metrics])
    known = {each.facet for each in metrics if each.metric.violated is not None}
    if found is MonitorState.OK and _captured_facets(evidence) - known:
        return MonitorState.INSUFFICIENT_DATA  # one that nothing is known of does not hold
    return found


def _captured_facets(evidence: Evidence) -> set[str]:
    """Return the declared facets that calls carry; the others are known of the holdout alone."""
    baseline = evidence.baseline
    if baseline is None:
        return set()
    return {facet.name for facet in baseline.facets or ()} & {feature.name for feature in baseline.features}


def _metrics(report: MonitorReport, spec: MonitorSpec) -> Iterator[MetricValue]:
    del spec
    if report.bias_state in TESTED:
        violated = sum(bool(each.metric.violated) for each in report.bias or ())
        yield MetricValue("bias", "BiasViolations", violated)


def _violations(evidence: Evidence, spec: MonitorSpec) -> Iterator[Violation]:
    del spec
    if evidence.quality is not None:
        for line in bias_violations(evidence.quality.bias_metrics)["violations"]:
            yield Violation(feature_name=f"{line['facet']}={line['facet_value']}", **line)


def _sentence(report: MonitorReport) -> Iterator[str]:
    if report.bias_state is MonitorState.OK:
        yield "bias holds"
    elif report.bias_state is MonitorState.INSUFFICIENT_DATA:
        facets = sorted({each.facet for each in report.bias or () if each.metric.violated is not None})
        yield f"bias holds by {', '.join(facets)} and is not known of the others" if facets else "bias is not known"
    yield from _happened(report)


def _happened(report: MonitorReport) -> Iterator[str]:
    if report.bias_state is MonitorState.VIOLATION:
        moved = [each for each in report.bias or () if each.metric.violated]
        named = ", ".join(f"{m.metric.name} of {m.facet}={m.facet_value} {interval(m.metric)}" for m in moved[:NAMED])
        yield f"bias moved: {named}{more(len(moved))}"


def _advice(report: MonitorReport) -> Iterator[str]:
    if report.bias_state is MonitorState.VIOLATION:
        yield "ask the model's owner before it is trained on these calls"


BIAS = MonitorKind(
    name="bias",
    state=_state,
    metrics=_metrics,
    violations=_violations,
    sentence=_sentence,
    happened=_happened,
    advice=_advice,
    holds="no facet is treated otherwise than in the baseline",
    violated=(
        "a facet is treated otherwise than in the baseline",
        "look at the facet's metrics below with whoever answers for the model",
    ),
)
