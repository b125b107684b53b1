"""The explainability monitor: compares the ranking of features by attribution with the baseline's."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts.monitor import TESTED, Baseline, MetricValue, MonitorState, Violation
from mlops_runtime.contracts.monitor_report import ExplainabilityResult, MonitorReport
from mlops_runtime.monitor.monitors.attribution_ranking import attribution_violations
from mlops_runtime.monitor.monitors.monitor_kind import MonitorKind
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import number

MOST_ATTRIBUTIONS = 20  # shown on the page


def _measure(_evidence: Evidence, _window: Window, _spec: MonitorSpec) -> None:
    """Return None: attributions are computed by a job, in the model's image."""


def _state(result: ExplainabilityResult, _evidence: Evidence, _spec: MonitorSpec) -> MonitorState:
    return result.state


def _metrics(result: ExplainabilityResult, _report: MonitorReport) -> Iterator[MetricValue]:
    if result.state in TESTED and result.ndcg is not None:
        yield MetricValue("explainability", "Ndcg", result.ndcg)


def _violations(result: ExplainabilityResult, evidence: Evidence, spec: MonitorSpec) -> Iterator[Violation]:
    baseline = evidence.baseline
    if baseline is None or baseline.attributions is None:
        return
    label = "prediction" if baseline.prediction is None else baseline.prediction.name
    for line in attribution_violations(baseline.attributions, result, spec.minimum_ndcg, label):
        # the violation is of the whole ranking, not of a feature
        yield Violation(feature_name="prediction", **line)


def _sentence(result: ExplainabilityResult, _report: MonitorReport) -> Iterator[str]:
    if result.state is MonitorState.VIOLATION and result.ndcg is not None:
        yield f"the ranking of features differs from that in training (NDCG {number(result.ndcg)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """One feature's share of all attributions and its rank, in the baseline and now."""

    name: str
    before: float | None
    after: float
    rank_before: int | None
    rank: int


def _section(result: ExplainabilityResult, baseline: Baseline | None) -> Mapping[str, Any]:
    now = _shares(result.attributions or {})
    before = _shares((baseline.attributions if baseline is not None else None) or {})
    rank_before = {name: rank for rank, name in enumerate(sorted(before, key=lambda n: (-before[n], n)), 1)}
    attributions = [
        Attribution(name=name, before=before.get(name), after=now[name], rank_before=rank_before.get(name), rank=rank)
        for rank, name in enumerate(sorted(now, key=lambda n: (-now[n], n)), 1)
    ]
    return {"attributions": attributions, "ndcg": result.ndcg, "most": MOST_ATTRIBUTIONS} if attributions else {}


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(map(abs, values.values()))
    return {name: abs(value) / total if total else 0.0 for name, value in values.items()}


EXPLAINABILITY = MonitorKind(
    name="explainability",
    measure=_measure,
    state=_state,
    metrics=_metrics,
    violations=_violations,
    sentence=_sentence,
    happened=_sentence,
    section=_section,
    holds="the model uses the same features",
    violated=(
        "the model uses other features than in the baseline",
        "check for a broken or leaking feature, then for drifted features",
    ),
)
