"""Model Monitor's files."""

import json
from dataclasses import replace
from typing import Any

import pytest

from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureCounts
from mlops_runtime.monitor.counts import count, empty
from mlops_runtime.monitor.decide import decide
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.statistics import statistics, violations

SPEC = MonitorSpec()


def test_statistics_have_model_monitors_shape(lines: Any, baseline: Baseline) -> None:
    """Numbers with mean, deviation and buckets; texts with their levels."""
    document = statistics(baseline, count([lines.call("1,,north\n3,2,west\n")], baseline))
    price, stock, store = json.loads(json.dumps(document))["features"]
    assert document["dataset"] == {"item_count": 2}
    numbers = price["numerical_statistics"]
    assert (price["inferred_type"], numbers["mean"], numbers["sum"], numbers["std_dev"]) == (
        "Fractional",
        2.0,
        4.0,
        1.0,
    )
    assert stock["numerical_statistics"]["common"] == {"num_present": 1, "num_missing": 1}
    buckets = numbers["distribution"]["kll"]["buckets"]
    assert "lower_bound" not in buckets[0]
    assert "upper_bound" not in buckets[-1]
    assert sum(bucket["count"] for bucket in buckets) == 2
    levels = {b["value"]: b["count"] for b in store["string_statistics"]["distribution"]["categorical"]["buckets"]}
    assert levels == {"north": 1, "south, old": 0, "__other__": 1}
    assert store["string_statistics"]["distinct_count"] == 2.0


def test_statistics_of_nothing_are_json(baseline: Baseline) -> None:
    """No rows: no mean, no deviation, still a document."""
    numbers = json.loads(json.dumps(statistics(baseline, empty(baseline))))["features"][0]["numerical_statistics"]
    assert (numbers["mean"], numbers["std_dev"]) == (None, None)


def window(baseline: Baseline, **changed: tuple[int, ...]) -> Counts:
    """Return a window with the baseline's own distribution, but for the changed features."""
    features = []
    for feature in baseline.features:
        cells = changed.get(feature.name, tuple(c // 2 for c in feature.counts))
        known, mean, deviation = sum(cells[:-1]), feature.mean or 0.0, feature.standard_deviation or 0.0
        squares = known * (mean**2 + deviation**2)
        features.append(FeatureCounts(name=feature.name, counts=cells, sum=known * mean, sum_squares=squares))
    return replace(empty(baseline), rows=1000, features=tuple(features))


def kinds(baseline: Baseline, counts: Counts) -> list[tuple[str, str]]:
    """Return feature and check of each violation."""
    found = violations(baseline, counts, decide(baseline, counts, SPEC), SPEC).violations
    return [(violation.feature_name, violation.constraint_check_type) for violation in found]


def test_no_drift_is_no_violation(baseline: Baseline) -> None:
    """The baseline's own distribution violates nothing."""
    assert kinds(baseline, window(baseline)) == []


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ({"price": (0, 500, 500, *[0] * 10)}, "baseline_drift_check"),
        ({"price": (0, *[80] * 10, 0, 200)}, "completeness_check"),
        ({"store": (450, 450, 100, 0)}, "categorical_values_check"),
    ],
)
def test_each_cause_has_its_check(baseline: Baseline, changed: dict[str, tuple[int, ...]], check: str) -> None:
    """Moved distributions, new nulls and new levels are told apart."""
    assert kinds(baseline, window(baseline, **changed)) == [(next(iter(changed)), check)]


def test_values_of_another_type_are_a_violation(baseline: Baseline) -> None:
    """More unreadable values than the minimum effect."""
    counts = window(baseline)
    broken = replace(counts.features[0], invalid=50)
    found = violations(baseline, replace(counts, features=(broken, *counts.features[1:])), (), SPEC).violations
    total = sum(broken.counts) + 50
    assert [v.constraint_check_type for v in found] == ["data_type_check"]
    assert found[0].description == (
        f"Data type match requirement is not met: {50 / total:.2%} of {total} values are not of type number"
    )
