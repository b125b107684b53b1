"""Model Monitor's files about data, held to the shapes of its documentation and of the SageMaker SDK's own fixtures.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-statistics.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureBaseline, FeatureCounts
from mlops_runtime.monitor.counting.counts import count, empty
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.statistics import constraints, statistics

# keys and types as documented; "?" marks what may be absent, None what may be null
NUMBER = (int, float)
BUCKET = {"lower_bound?": NUMBER, "upper_bound?": NUMBER, "count": NUMBER}
COMMON = {"num_present": int, "num_missing": int}
STATISTICS: Mapping[str, Any] = {
    "version": float,
    "dataset": {"item_count": int},
    "features": [
        {
            "name": str,
            "inferred_type": str,
            "numerical_statistics?": {
                "common": COMMON,
                "mean": (*NUMBER, type(None)),
                "sum": NUMBER,
                "std_dev": (*NUMBER, type(None)),
                "min": (*NUMBER, type(None)),
                "max": (*NUMBER, type(None)),
                "distribution": {"kll": {"buckets": [BUCKET]}},
            },
            "string_statistics?": {
                "common": COMMON,
                "distinct_count": float,
                "distribution": {"categorical": {"buckets": [{"value": str, "count": int}]}},
            },
        }
    ],
}
CONSTRAINTS: Mapping[str, Any] = {
    "version": float,
    "features": [
        {
            "name": str,
            "inferred_type": str,
            "completeness": NUMBER,
            "num_constraints?": {"is_non_negative": bool},
            "string_constraints?": {"domains": [str]},
        }
    ],
    "monitoring_config": {
        "evaluate_constraints": str,
        "emit_metrics": str,
        "datatype_check_threshold": NUMBER,
        "domain_content_threshold": NUMBER,
        "distribution_constraints": {
            "perform_comparison": str,
            "comparison_threshold": NUMBER,
            "comparison_method": str,
        },
    },
}


def hold(document: Any, shape: Any, path: str = "$") -> None:
    """Hold a document to a shape: no member too many, none too few, each of its type."""
    if isinstance(shape, Mapping):
        allowed = {name.rstrip("?") for name in shape}
        assert set(document) <= allowed, f"{path}: {set(document) - allowed}"
        for name, kind in shape.items():
            if name.rstrip("?") in document or not name.endswith("?"):
                hold(document[name.rstrip("?")], kind, f"{path}.{name}")
    elif isinstance(shape, list):
        for index, item in enumerate(document):
            hold(item, shape[0], f"{path}[{index}]")
    else:
        assert isinstance(document, shape), f"{path}: {document!r}"


def test_statistics_have_model_monitors_shape(lines: Any, baseline: Baseline) -> None:
    """Numbers with mean, deviation, extremes and buckets; texts with their levels."""
    document = statistics(baseline, count([lines.call("1,,north\n3,2,west\n")], baseline))
    hold(json.loads(json.dumps(document)), STATISTICS)
    price, stock, store = document["features"]
    assert document["dataset"] == {"item_count": 2}
    numbers = price["numerical_statistics"]
    assert (price["inferred_type"], numbers["mean"], numbers["sum"], numbers["std_dev"]) == (
        "Fractional",
        2.0,
        4.0,
        1.0,
    )
    assert (numbers["min"], numbers["max"]) == (1.0, 3.0)
    assert stock["numerical_statistics"]["common"] == {"num_present": 1, "num_missing": 1}
    buckets = numbers["distribution"]["kll"]["buckets"]
    assert sum(bucket["count"] for bucket in buckets) == 2
    levels = {b["value"]: b["count"] for b in store["string_statistics"]["distribution"]["categorical"]["buckets"]}
    assert levels == {"north": 1, "south, old": 0, "__other__": 0, "__new__": 1}
    assert store["string_statistics"]["distinct_count"] == 2.0


def test_each_bucket_holds_what_its_bounds_say(lines: Any, baseline: Baseline) -> None:
    """Counted again from the values, bucket by bucket."""
    values = np.random.default_rng(3).lognormal(1, 0.6, 400).astype(np.float32)
    found = statistics(baseline, count([lines.call("\n".join(f"{v},1,north" for v in values))], baseline))
    buckets = found["features"][0]["numerical_statistics"]["distribution"]["kll"]["buckets"]
    for index, bucket in enumerate(buckets):
        low, high = bucket.get("lower_bound", -np.inf), bucket.get("upper_bound", np.inf)
        last = index == len(buckets) - 1
        assert bucket["count"] == ((values >= low) & ((values <= high) if last else (values < high))).sum()


def test_statistics_of_nothing_are_json(baseline: Baseline) -> None:
    """No rows: no mean, no deviation, an unknown type, still a document of that shape."""
    document = json.loads(json.dumps(statistics(baseline, empty(baseline))))
    hold(document, STATISTICS)
    first = document["features"][0]
    assert (first["inferred_type"], first["numerical_statistics"]["mean"]) == ("Unknown", None)


def test_sums_of_huge_windows_keep_their_rest() -> None:
    """The exact sum is its first double and all that it leaves."""
    feature = FeatureBaseline(name="x", type="number", edges=(1.0,), counts=(1, 1, 0))
    baseline = Baseline(features=(feature,), rows=2, training_set_id="t", created="")
    counted = FeatureCounts(
        name="x", counts=(1, 1, 0), sum=1e16, sum_rest=(1.0,), sum_squares=0.0, minimum=0.0, maximum=2.0
    )
    counts = Counts(baseline_sha256="b", rows=2, calls=2, features=(counted,), first="", last="")
    numbers = statistics(baseline, counts)["features"][0]["numerical_statistics"]
    assert (numbers["sum"], numbers["mean"]) == (1e16, 5e15)


def test_constraints_have_model_monitors_shape(baseline: Baseline) -> None:
    """Completeness and sign of the training data, its levels, and our thresholds in Model Monitor's places."""
    document = constraints(baseline, MonitorSpec(minimum_effect=0.02, minimum_share=0.01))
    hold(json.loads(json.dumps(document)), CONSTRAINTS)
    price, stock, store = document["features"]
    assert price["num_constraints"] == {"is_non_negative": True}
    assert price["completeness"] == 1
    assert stock["completeness"] == pytest.approx(0.9, abs=0.02)
    assert store["string_constraints"]["domains"] == list(baseline.features[2].levels)
    config = document["monitoring_config"]
    assert (config["distribution_constraints"]["comparison_threshold"], config["datatype_check_threshold"]) == (
        0.02,
        0.99,
    )
