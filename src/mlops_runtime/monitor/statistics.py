"""Model Monitor's files from our counts: ``statistics.json`` and ``constraint_violations.json``.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-statistics.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
"""

import math
from collections.abc import Sequence
from typing import Any

from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureBaseline, FeatureCounts, Violation, Violations
from mlops_runtime.monitor.decide import FeatureDecision
from mlops_runtime.monitor.spec import MonitorSpec

_OTHER = "__other__"


def statistics(baseline: Baseline, counts: Counts) -> dict[str, Any]:
    """Return ``statistics.json``: item count and each feature's numbers over the window.

    Buckets are the baseline's bins, not Model Monitor's ten equal widths; the two outermost ones have one bound only, because
    counts do not keep a minimum and maximum.
    """
    return {
        "version": 0.0,
        "dataset": {"item_count": counts.rows},
        "features": [_feature(*pair) for pair in zip(baseline.features, counts.features, strict=True)],
    }


def violations(
    baseline: Baseline, counts: Counts, decisions: Sequence[FeatureDecision], spec: MonitorSpec
) -> Violations:
    """Return ``constraint_violations.json`` in Model Monitor's check types.

    ``completeness_check`` where nulls, ``categorical_values_check`` where levels that are rare in the baseline made the verdict,
    else ``baseline_drift_check``; ``data_type_check`` where more values than the minimum effect could not be read as the
    feature's type.
    """
    kinds = {feature.name: feature for feature in baseline.features}
    found = [_drift(decision, kinds.get(decision.drift.name)) for decision in decisions if decision.drift.drifted]
    for counted in counts.features:
        values = sum(counted.counts) + counted.invalid
        if values and counted.invalid / values > spec.minimum_effect:
            share = f"{counted.invalid / values:.2%} of {values} values"
            found.append(
                Violation(
                    feature_name=counted.name,
                    constraint_check_type="data_type_check",
                    description=f"Data type match requirement is not met: {share} are not of type {kinds[counted.name].type}",
                )
            )
    return Violations(violations=tuple(found))


def _drift(decision: FeatureDecision, feature: FeatureBaseline | None) -> Violation:
    drift, test = decision.drift, decision.examination
    if not test.by_rare:
        description = f"PSI {drift.psi:.4f} exceeds the minimum effect (p-value {drift.p_value:.2g})"
        return Violation(feature_name=drift.name, constraint_check_type="baseline_drift_check", description=description)
    if test.null_share * 2 > test.rare_share:
        description = f"{test.null_share:.2%} of values are null (p-value {drift.p_value:.2g})"
        return Violation(feature_name=drift.name, constraint_check_type="completeness_check", description=description)
    kind = "categorical_values_check" if feature is not None and feature.type == "category" else "baseline_drift_check"
    description = f"{test.rare_share:.2%} of values are rare or unknown in the baseline (p-value {drift.p_value:.2g})"
    return Violation(feature_name=drift.name, constraint_check_type=kind, description=description)


def _feature(baseline: FeatureBaseline, counts: FeatureCounts) -> dict[str, Any]:
    null = counts.counts[-1]
    known = sum(counts.counts) - null
    common = {"num_present": known, "num_missing": null}
    if baseline.type == "category":
        pairs = list(zip((*baseline.levels, _OTHER), counts.counts[:-1], strict=True))
        buckets = [{"value": level, "count": count} for level, count in pairs]
        return {
            "name": baseline.name,
            "inferred_type": "String",
            "string_statistics": {
                "common": common,
                "distinct_count": float(sum(count > 0 for _, count in pairs)),
                "distribution": {"categorical": {"buckets": buckets}},
            },
        }
    mean = counts.sum / known if known else None
    variance = None if mean is None else max(0.0, counts.sum_squares / known - mean * mean)
    return {
        "name": baseline.name,
        "inferred_type": "Fractional",
        "numerical_statistics": {
            "common": common,
            "mean": mean,
            "sum": counts.sum,
            "std_dev": None if variance is None else math.sqrt(variance),
            "distribution": {"kll": {"buckets": _buckets(baseline.edges, counts.counts[:-1])}},
        },
    }


def _buckets(edges: Sequence[float], counts: Sequence[int]) -> list[dict[str, float]]:
    bounds = zip((None, *edges), (*edges, None), counts, strict=True)
    return [
        {
            **({} if lower is None else {"lower_bound": lower}),
            **({} if upper is None else {"upper_bound": upper}),
            "count": float(count),
        }
        for lower, upper, count in bounds
    ]
