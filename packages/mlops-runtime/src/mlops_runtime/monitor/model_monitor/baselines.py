"""Write the live model's baseline as baseline files of Model Monitor's jobs.

The URIs of a job definition's baseline files are fixed; after a promotion their content is replaced.
"""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.monitor.model_monitor.clarify_files import attribution_analysis, bias_analysis
from mlops_runtime.monitor.model_monitor.executions import MonitorName, model_monitor_prefix
from mlops_runtime.monitor.spec import MonitorSpec

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# a shift of a normal mean by d standard deviations has a PSI of d squared, and distribution functions 0.4 d apart
_APART = 0.4
_ERRORS, _SCORES = ("mae", "mse", "rmse"), ("r2", "recall", "precision", "accuracy", "f1", "auc")
_DEVIATIONS = 3
_MEMBERS = 100  # percentiles that represent the distribution


def baseline_files(baseline: Baseline, spec: MonitorSpec) -> Mapping[MonitorName, Mapping[str, Any]]:
    """Return the baseline files of each monitor that the baseline has data for, by file name.

    Args:
        baseline: The live model's baseline.
        spec: Thresholds: distances above 0.4 times the square root of ``minimum_effect``, shares of nulls and unknown values above
            ``minimum_share``, errors above ``maximum_wape_ratio`` times the holdout's.
    """
    features = [*([] if baseline.prediction is None else [baseline.prediction]), *baseline.features]
    found: dict[MonitorName, Mapping[str, Any]] = {
        "data_quality": {
            "constraints.json": _constraints(features, spec),
            "statistics.json": {
                "version": 0.0,
                "dataset": {"item_count": baseline.rows},
                "features": [_statistics(feature) for feature in features],
            },
        }
    }
    quality = _quality(baseline, spec)
    if quality is not None:
        found["model_quality"] = {"constraints.json": quality}
    if baseline.bias:
        found["bias"] = {"constraints.json": bias_analysis(baseline.bias, "label")}
    if baseline.attributions:
        found["explainability"] = {"constraints.json": attribution_analysis(baseline.attributions, "label0")}
    return found


def put_baselines(
    s3: "S3Client",
    *,
    bucket: str,
    endpoint: str,
    baseline: Baseline,
    spec: MonitorSpec,
    monitors: Sequence[MonitorName],
) -> int:
    """Write the files of scheduled monitors to the default location of their definitions; unchanged files are not rewritten.

    Returns:
        Number of files written.
    """
    written = 0
    for monitor, files in baseline_files(baseline, spec).items():
        for name, document in files.items() if monitor in monitors else ():
            key = f"{model_monitor_prefix(endpoint)}/baselines/{monitor}/{name}"
            body = json.dumps(document, sort_keys=True).encode()
            if _read(s3, bucket, key) != body:
                s3.put_object(Bucket=bucket, Key=key, Body=body)
                written += 1
    return written


def _read(s3: "S3Client", bucket: str, key: str) -> bytes | None:
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None


def _constraints(features: Sequence[FeatureBaseline], spec: MonitorSpec) -> dict[str, object]:
    threshold = _APART * math.sqrt(spec.minimum_effect)
    return {
        "version": 0.0,
        "features": [_constraint(feature, spec) for feature in features],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": 1 - spec.minimum_share,
            "domain_content_threshold": 1 - spec.minimum_share,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": threshold,
                "comparison_method": "Robust",
                "categorical_comparison_threshold": threshold,
                "categorical_drift_method": "LInfinity",
            },
        },
    }


def _constraint(feature: FeatureBaseline, spec: MonitorSpec) -> dict[str, object]:
    rows = sum(feature.counts)
    null = feature.counts[-1] / rows if rows else 1.0
    # tolerate the chance variation of the smallest window
    chance = _DEVIATIONS * math.sqrt(null * (1 - null) / spec.minimum_rows)
    found: dict[str, object] = {
        "name": feature.name,
        "inferred_type": "Fractional" if feature.type == "number" else "String",
        "completeness": max(0.0, 1 - null - spec.minimum_share - chance),
    }
    if feature.type == "category" and not any(feature.counts[len(feature.levels) : -1]):
        found["string_constraints"] = {"domains": list(feature.levels)}  # only if the baseline has no other levels
    return found


def _statistics(feature: FeatureBaseline) -> dict[str, object]:
    known, null = sum(feature.counts[:-1]), feature.counts[-1]
    common = {"num_present": known, "num_missing": null}
    if feature.type == "category":
        buckets = [
            {"value": level, "count": count} for level, count in zip(feature.levels, feature.counts, strict=False)
        ]
        entry = {
            "common": common,
            "distinct_count": float(len(feature.levels)),
            "distribution": {"categorical": {"buckets": buckets}},
        }
        return {"name": feature.name, "inferred_type": "String", "string_statistics": entry}
    numerical: dict[str, object] = {"common": common, "mean": feature.mean, "std_dev": feature.standard_deviation}
    if feature.quantiles:
        low, high = feature.quantiles[0], feature.quantiles[-1]
        # the midpoints between percentiles are the items; an item of a sketch represents 2^level values
        middles = [(a + b) / 2 for a, b in pairwise(feature.quantiles)]
        level = max(0, round(math.log2(max(1, known) / _MEMBERS)))
        sketch = {"parameters": {"c": 0.64, "k": 2048.0}, "data": [*([] for _ in range(level)), middles]}
        edges = [low, *feature.quantiles[10:91:10], high]
        buckets = [{"lower_bound": a, "upper_bound": b, "count": known / 10} for a, b in pairwise(edges)]
        numerical |= {"min": low, "max": high, "distribution": {"kll": {"buckets": buckets, "sketch": sketch}}}
    return {"name": feature.name, "inferred_type": "Fractional", "numerical_statistics": numerical}


def _quality(baseline: Baseline, spec: MonitorSpec) -> dict[str, object] | None:
    limits: dict[str, dict[str, object]] = {}
    for name, value in baseline.quality.items():
        if name in _ERRORS:
            limits[name] = {"threshold": value * spec.maximum_wape_ratio, "comparison_operator": "GreaterThanThreshold"}
        elif name in _SCORES and value > 0:
            limits[name] = {"threshold": value / spec.maximum_wape_ratio, "comparison_operator": "LessThanThreshold"}
    for name, limit in spec.quality_limits.items():
        if name in _ERRORS or name in _SCORES:
            operator = "GreaterThanThreshold" if name in _ERRORS else "LessThanThreshold"
            limits[name] = {"threshold": limit, "comparison_operator": operator}
    if not limits or baseline.target is None:
        return None
    section = "regression" if baseline.target == "regression" else "binary_classification"
    return {"version": 0.0, f"{section}_constraints": limits}
