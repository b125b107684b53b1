"""The monitor of explainability: whether the features still matter in the order in which they mattered."""

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

MOST_ATTRIBUTIONS = 20  # that the page shows


def _measure(_evidence: Evidence, _window: Window, _spec: MonitorSpec) -> None:
    """A job explains, in the image of the model."""


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
        # the whole ranking is evaluated, so there is no feature to name
        yield Violation(feature_name="prediction", **line)


def _sentence(result: ExplainabilityResult, _report: MonitorReport) -> Iterator[str]:
    if result.state is MonitorState.VIOLATION and result.ndcg is not None:
        yield f"features matter in another order than in training (NDCG {number(result.ndcg)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """One feature's share of all attributions, in the baseline and now, with its ranks."""

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
        "look for a feature that broke or leaks, then at what drifted",
    ),
)
