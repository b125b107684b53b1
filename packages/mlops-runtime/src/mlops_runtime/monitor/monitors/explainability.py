"""The monitor of explainability: whether the features still matter in the order in which they mattered."""

from collections.abc import Iterator
from dataclasses import replace

from mlops_runtime.contracts.monitor import TESTED, MetricValue, MonitorReport, MonitorState, Violation
from mlops_runtime.monitor.monitors.monitor_kind import MonitorKind
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import number


def _state(evidence: Evidence, spec: MonitorSpec) -> MonitorState | None:
    del spec
    return None if evidence.explanation is None else evidence.explanation.state


def _metrics(report: MonitorReport, spec: MonitorSpec) -> Iterator[MetricValue]:
    del spec
    if report.explainability_state in TESTED and report.ndcg is not None:
        yield MetricValue("explainability", "Ndcg", report.ndcg)


def _violations(evidence: Evidence, spec: MonitorSpec) -> Iterator[Violation]:
    del spec
    if evidence.explanation is None:
        return
    baseline = evidence.baseline
    label = "prediction" if baseline is None or baseline.prediction is None else baseline.prediction.name
    for line in evidence.explanation.violations:
        yield replace(line, label=label, metric_name="shap")


def _sentence(report: MonitorReport) -> Iterator[str]:
    if report.explainability_state is MonitorState.VIOLATION and report.ndcg is not None:
        yield f"features matter in another order than in training (NDCG {number(report.ndcg)})"


EXPLAINABILITY = MonitorKind(
    name="explainability",
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
