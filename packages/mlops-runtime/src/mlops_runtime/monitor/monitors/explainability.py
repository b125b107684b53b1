"""The monitor of explainability: whether the features still matter in the order in which they mattered."""

from collections.abc import Iterator

from mlops_runtime.contracts.monitor import TESTED, MetricValue, MonitorState, Violation
from mlops_runtime.contracts.monitor_report import ExplainabilityResult, MonitorReport
from mlops_runtime.monitor.monitors.attribution_ranking import attribution_violations
from mlops_runtime.monitor.monitors.monitor_kind import MonitorKind
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import number


def _measure(evidence: Evidence, window: Window, spec: MonitorSpec) -> None:
    # a job explains, in the image of the model
    del evidence, window, spec


def _state(result: ExplainabilityResult, evidence: Evidence, spec: MonitorSpec) -> MonitorState:
    del evidence, spec
    return result.state


def _metrics(result: ExplainabilityResult, report: MonitorReport) -> Iterator[MetricValue]:
    del report
    if result.state in TESTED and result.ndcg is not None:
        yield MetricValue("explainability", "Ndcg", result.ndcg)


def _violations(result: ExplainabilityResult, evidence: Evidence, spec: MonitorSpec) -> Iterator[Violation]:
    baseline = evidence.baseline
    if baseline is None or baseline.attributions is None:
        return
    label = "prediction" if baseline.prediction is None else baseline.prediction.name
    for line in attribution_violations(baseline.attributions, result, spec.minimum_ndcg, label):
        # the whole ranking is judged, so there is no feature to name
        yield Violation(feature_name="prediction", **line)


def _sentence(result: ExplainabilityResult, report: MonitorReport) -> Iterator[str]:
    del report
    if result.state is MonitorState.VIOLATION and result.ndcg is not None:
        yield f"features matter in another order than in training (NDCG {number(result.ndcg)})"


EXPLAINABILITY = MonitorKind(
    name="explainability",
    measure=_measure,
    state=_state,
    metrics=_metrics,
    violations=_violations,
    sentence=_sentence,
    happened=_sentence,
    holds="the model looks at the same features",
    violated=(
        "the model looks at other features than in the baseline",
        "look for a feature that broke or leaks, then at what drifted",
    ),
)
