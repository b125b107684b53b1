"""Compare the ranking of features by attribution with the baseline's: Clarify's NDCG.

Standard library only: attributions are computed in the job's image (`mlops_runtime.monitor.monitors.attributions`).
"""

import math
from collections.abc import Mapping
from itertools import groupby

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import ExplainabilityResult


class AttributionError(ValueError):
    """Attributions cannot be computed or compared; the message has the reason and the fix."""


def ndcg(baseline: Mapping[str, float], live: Mapping[str, float]) -> float:
    """Return the normalised discounted cumulative gain of the live ranking of features, from 0 to 1 (identical ranking).

    The gain of a feature is its attribution in the baseline, discounted by the logarithm of its rank in live data: the fall of an
    important feature weighs more than that of an unimportant one. Features with equal live attributions share the mean of their
    gains, as in scikit-learn's ``ndcg_score``, to which Clarify refers.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-feature-attribution-drift.html and
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-model-attribution-drift-violations.html

    Raises:
        AttributionError: With every problem: different features, values that are negative or not finite, no feature above 0.

    Example:
        >>> training = {"SAT score": 0.70, "GPA": 0.50, "Class rank": 0.05}
        >>> round(ndcg(training, {"SAT score": 0.10, "GPA": 0.20, "Class rank": 0.70}), 2)
        0.69
    """
    problems = _problems(baseline, live)
    if problems:
        raise AttributionError("; ".join(problems))
    return _gain(baseline, live) / _gain(baseline, baseline)


def compare(baseline: Mapping[str, float], live: Mapping[str, float], minimum_ndcg: float) -> ExplainabilityResult:
    """Return the result of a window's attributions: a violation if their NDCG is below the minimum.

    Raises:
        AttributionError: See `ndcg`.

    Example:
        >>> compare({"a": 2.0, "b": 1.0}, {"a": 4.0, "b": 1.0}, 0.9).state.value
        'OK'
    """
    score = ndcg(baseline, live)
    state = MonitorState.OK if score >= minimum_ndcg else MonitorState.VIOLATION
    return ExplainabilityResult(state=state, attributions=live, ndcg=score)


def attribution_violations(
    baseline: Mapping[str, float], found: ExplainabilityResult, minimum_ndcg: float, label: str
) -> list[dict[str, str]]:
    """Return the lines of ``constraint_violations.json`` in Clarify's format: one if the ranking changed too much."""
    if found.attributions is None or found.ndcg is None or found.ndcg >= minimum_ndcg:
        return []
    rankings = (sorted(each, key=lambda name: (-each[name], name)) for each in (baseline, found.attributions))
    before, now = (", ".join(ranking[:3]) for ranking in rankings)
    description = f"Feature attribution drift {found.ndcg:.4f} exceeds threshold {minimum_ndcg:g}: "
    return [
        {
            "label": label,
            "metric_name": "shap",
            "constraint_check_type": "feature_attribution_drift_check",
            "description": f"{description}the most important features were {before}, now they are {now}",
        }
    ]


def _gain(gains: Mapping[str, float], scores: Mapping[str, float]) -> float:
    total, rank = 0.0, 1
    ranked = sorted(scores, key=lambda name: -scores[name])
    for _, group in groupby(ranked, key=lambda name: scores[name]):
        tied = list(group)
        mean = math.fsum(gains[name] for name in tied) / len(tied)
        total += mean * math.fsum(1 / math.log2(rank + 1 + index) for index in range(len(tied)))
        rank += len(tied)
    return total


def _problems(baseline: Mapping[str, float], live: Mapping[str, float]) -> list[str]:
    problems = []
    if baseline.keys() != live.keys():
        only = [f"{name!r} only in {where}" for name, where in _apart(baseline, live)]
        problems.append(f"attributions must be of the same features, got {', '.join(only)}")
    for where, values in (("the baseline", baseline), ("live data", live)):
        wrong = [f"{name!r} {value!r}" for name, value in values.items() if not (math.isfinite(value) and value >= 0)]
        if wrong:
            problems.append(f"attributions of {where} must be finite and 0 or more, got {', '.join(wrong)}")
    if not problems and not any(value > 0 for value in baseline.values()):
        problems.append(
            "attributions of the baseline must be above 0 for at least one feature, got none: nothing to rank"
        )
    return problems


def _apart(baseline: Mapping[str, float], live: Mapping[str, float]) -> list[tuple[str, str]]:
    missing = [(name, "the baseline") for name in baseline if name not in live]
    return missing + [(name, "live data") for name in live if name not in baseline]
