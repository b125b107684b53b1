"""Model Monitor's files about data, from our baseline and counts: ``statistics.json`` and ``constraints.json``.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-statistics.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html
"""

import math
from collections.abc import Sequence
from typing import Any

from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureBaseline, FeatureCounts
from mlops_runtime.monitor.spec import MonitorSpec

OTHER, NEW = "__other__", "__new__"


def statistics(baseline: Baseline, counts: Counts) -> dict[str, Any]:
    """Return ``statistics.json``: item count and each feature's numbers over the window.

    Buckets are the baseline's bins, not Model Monitor's ten equal widths, and there is no sketch: counts are exact. The two
    outermost bounds are the window's minimum and maximum; a bin that cannot have one (no value fell there) has none on that side.
    Levels that the baseline does not keep one by one are ``__other__``, those that it never saw ``__new__``.

    Args:
        baseline: What the counts were counted against.
        counts: The window's.
    """
    return {
        "version": 0.0,
        "dataset": {"item_count": counts.rows},
        "features": [_feature(*pair) for pair in zip(baseline.features, counts.features, strict=True)],
    }


def constraints(baseline: Baseline, spec: MonitorSpec) -> dict[str, Any]:
    """Return ``constraints.json``: what Model Monitor would hold the baseline's features to.

    It is for tools that read Model Monitor's files; our decision is `decide`'s, whose rules these constraints cannot say.

    Args:
        baseline: The live model's.
        spec: What counts as much: shares that do not fit are at most ``minimum_share``, distances at most ``minimum_effect``.
    """
    return {
        "version": 0.0,
        "features": [_constraint(feature) for feature in baseline.features],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": 1 - spec.minimum_share,
            "domain_content_threshold": 1 - spec.minimum_share,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": spec.minimum_effect,
                "comparison_method": "Robust",
            },
        },
    }


def _constraint(feature: FeatureBaseline) -> dict[str, Any]:
    rows = sum(feature.counts)
    completeness = (rows - feature.counts[-1]) / rows if rows else 0.0
    if feature.type == "category":
        return {
            "name": feature.name,
            "inferred_type": "String",
            "completeness": completeness,
            "string_constraints": {"domains": list(feature.levels)},
        }
    lowest = feature.quantiles[0] if feature.quantiles else None
    return {
        "name": feature.name,
        "inferred_type": "Fractional",
        "completeness": completeness,
        "num_constraints": {"is_non_negative": lowest is not None and lowest >= 0},
    }


def _feature(baseline: FeatureBaseline, counts: FeatureCounts) -> dict[str, Any]:
    null = counts.counts[-1]
    known = sum(counts.counts) - null
    common = {"num_present": known, "num_missing": null}
    if baseline.type == "category":
        levels = _levels(baseline, counts)
        buckets = [{"value": level, "count": count} for level, count in levels]
        return {
            "name": baseline.name,
            "inferred_type": "String" if known else "Unknown",
            "string_statistics": {
                "common": common,
                "distinct_count": float(sum(count > 0 for _, count in levels)),
                "distribution": {"categorical": {"buckets": buckets}},
            },
        }
    total = math.fsum((counts.sum, *(counts.sum_rest or ())))
    squares = math.fsum((counts.sum_squares, *(counts.sum_squares_rest or ())))
    mean = total / known if known else None
    variance = None if mean is None else max(0.0, squares / known - mean * mean)
    return {
        "name": baseline.name,
        "inferred_type": "Fractional" if known else "Unknown",
        "numerical_statistics": {
            "common": common,
            "mean": mean,
            "sum": total,
            "std_dev": None if variance is None else math.sqrt(variance),
            "min": counts.minimum,
            "max": counts.maximum,
            "distribution": {"kll": {"buckets": _buckets(baseline.edges, counts)}},
        },
    }


def _levels(baseline: FeatureBaseline, counts: FeatureCounts) -> list[tuple[str, int]]:
    """Return the count of each level, and of the others together."""
    kept, rest = counts.counts[: len(baseline.levels)], counts.counts[len(baseline.levels) : -1]
    levels = list(zip(baseline.levels, kept, strict=True))
    if baseline.tail is None:
        return [*levels, (OTHER, sum(rest))]
    return [*levels, (OTHER, sum(rest[:-1])), (NEW, rest[-1])]


def _buckets(edges: Sequence[float], counts: FeatureCounts) -> list[dict[str, float]]:
    bounds = zip((counts.minimum, *edges), (*edges, counts.maximum), counts.counts[:-1], strict=True)
    return [
        {
            **({} if lower is None or (upper is not None and lower > upper) else {"lower_bound": lower}),
            **({} if upper is None or (lower is not None and lower > upper) else {"upper_bound": upper}),
            "count": float(count),
        }
        for lower, upper, count in bounds
    ]
