"""Model Monitor's checks, in all documented spellings of its files."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlops_runtime.monitor.model_monitor.constraints import (
    ConstraintsError,
    evaluate,
    numerical_distance,
    read_constraints,
)
from mlops_runtime.monitor.model_monitor.profile import profile, statistics_document

STRICT = {"datatype_check_threshold": 1.0, "domain_content_threshold": 1.0}


def _rows(name: str, values: list[Any]) -> list[dict[str, Any]]:
    return [{name: value} for value in values]


def _violations(
    feature: dict[str, Any], values: list[Any], baseline: list[Any] | None = None, **config: Any
) -> list[tuple[str, str, str]]:
    document = {"version": 0, "features": [feature], "monitoring_config": STRICT | config}
    columns, count = profile(_rows("c", baseline or []))
    before = statistics_document(columns.values(), count)
    now, _ = profile(_rows("c", values))
    return [
        (v.feature_name, v.constraint_check_type, v.description)
        for v in evaluate(read_constraints(document), before, now)
    ]


def test_types_must_match_as_often_as_the_threshold_says() -> None:
    """Types must match as often as the threshold requires, with the container's own words."""
    ((name, kind, text),) = _violations({"name": "c", "inferred_type": "Integral"}, [1, 2, 3, 4.5])

    assert (name, kind) == ("c", "data_type_check")
    assert text == (
        "Data type match requirement is not met. Expected data type: Integral, Expected match: 100.0%. "
        "Observed: Only 75.0000% of data is Integral."
    )
    assert _violations({"name": "c", "inferred_type": "Fractional"}, [1, 2, 4.5]) == []
    assert _violations({"name": "c", "inferred_type": "Integral"}, [1, 4.5], datatype_check_threshold=0.5) == []


def test_completeness_is_compared_with_the_features_own() -> None:
    """Nulls as rare as in the baseline are no violation."""
    feature = {"name": "c", "inferred_type": "Fractional", "completeness": 0.75}

    assert _violations(feature, [1.5, None, 2.5, 3.5]) == []
    ((_, kind, text),) = _violations(feature, [1.5, None, None, 3.5])
    assert (kind, text.endswith("Observed: 50.0000%.")) == ("completeness_check", True)


def test_columns_are_compared_by_name() -> None:
    """Reports missing and extra columns by name."""
    document = {"features": [{"name": "a", "inferred_type": "Unknown"}, {"name": "b", "inferred_type": "Unknown"}]}
    columns, _ = profile([{"b": 1, "z": 2}])
    found = [(v.feature_name, v.constraint_check_type) for v in evaluate(read_constraints(document), {}, columns)]

    assert found == [("Missing columns", "missing_column_check"), ("Extra columns", "extra_column_check")]


@pytest.mark.parametrize(
    "place",
    [
        {"monitoring_config_overrides": {"domain_content_threshold": 0.5}},
        {"monitoringConfigOverrides": {"domain_content_threshold": 0.5}},
        {"string_constraints": {"domains": ["a"], "monitoring_config_overrides": {"domain_content_threshold": 0.5}}},
    ],
)
def test_known_values_are_a_share(place: dict[str, Any]) -> None:
    """The share of known values can be overridden per feature, in either spelling and position."""
    feature = {"name": "c", "inferred_type": "String", "string_constraints": {"domains": ["a"]}}

    ((_, kind, text),) = _violations(feature, ["a", "b", "b"])
    assert kind == "categorical_values_check"
    assert text.endswith("Observed: 33.3333%. Unknown: 'b'.")
    assert _violations(feature | place, ["a", "b"]) == []


@pytest.mark.parametrize("switch", [{"perform_comparison": "Disabled"}, {"enable_comparisons": False}])
def test_distributions_are_compared_unless_switched_off(switch: dict[str, Any]) -> None:
    """Compares numbers by distribution functions and text by shares, unless switched off."""
    number = {"name": "c", "inferred_type": "Integral"}
    text = {"name": "c", "inferred_type": "String"}

    ((_, kind, reported),) = _violations(number, [5, 6, 7], [1, 2, 3])
    assert (kind, reported) == ("baseline_drift_check", "Numerical distance: 1 exceeds numerical threshold: 0.1")
    ((_, kind, reported),) = _violations(text, ["a", "b"], ["a", "a"])
    assert (kind, reported) == ("baseline_drift_check", "Categorical distance: 0.5 exceeds categorical threshold: 0.1")
    for feature, now, before in ((number, [5, 6], [1, 2]), (text, ["b"], ["a"])):
        assert _violations(feature, now, before, distribution_constraints=switch) == []


@pytest.mark.parametrize("spelling", ["comparison_method", "comparion_method"])
def test_the_robust_method_forgives_small_samples(spelling: str) -> None:
    """The robust method applies Deequ's correction of 1.8 standard errors to small samples."""
    feature, config = {"name": "c", "inferred_type": "Integral"}, {"comparison_threshold": 0.1}

    assert _violations(feature, [1, 3], [1, 2, 3], distribution_constraints=config)
    assert _violations(feature, [1, 3], [1, 2, 3], distribution_constraints=config | {spelling: "Robust"}) == []


def test_what_is_not_known_is_refused_by_name() -> None:
    """Rejects unknown settings and names all of them."""
    config = {"distribution_constraints": {"categorical_drift_method": "ChiSquared", "comparison_method": "KS"}}
    with pytest.raises(ConstraintsError) as error:
        read_constraints({"features": [{"name": "c", "inferred_type": "Date"}], "monitoring_config": config})

    assert str(error.value) == (
        "inferred_type of 'c' must be one of Integral, Fractional, String, Unknown, got 'Date'; "
        "categorical_drift_method must be LInfinity here, got 'ChiSquared' for 'c'; "
        "comparison_method must be Simple or Robust, got 'KS' for 'c'"
    )
    with pytest.raises(ConstraintsError, match=r"constraints\.json lists no features"):
        read_constraints({"features": None})


def test_nothing_is_evaluated_where_that_is_disabled() -> None:
    """Evaluates nothing if the file disables it."""
    assert _violations({"name": "c", "inferred_type": "Integral"}, ["x"], evaluate_constraints="Disabled") == []


NUMBERS = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=60)


@given(NUMBERS, NUMBERS)
def test_the_distance_is_kolmogorovs(before: list[float], now: list[float]) -> None:
    """With a sketch of every number the distance is scipy's Kolmogorov-Smirnov statistic."""
    columns, count = profile(_rows("c", before))
    (feature,) = statistics_document(columns.values(), count)["features"]
    distance = numerical_distance(feature["numerical_statistics"], np.array(now), is_robust=False)

    assert distance == pytest.approx(stats.ks_2samp(before, now, method="asymp").statistic, abs=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_buckets_alone_bound_the_distance_from_below(seed: int) -> None:
    """Without a sketch, buckets give a lower bound of the distance."""
    random = np.random.default_rng(seed)
    before, now = random.normal(size=500), random.normal(0.5, size=300)
    columns, count = profile(_rows("c", before.tolist()))
    (feature,) = statistics_document(columns.values(), count)["features"]
    numerical = feature["numerical_statistics"]
    del numerical["distribution"]["kll"]["sketch"]
    distance = numerical_distance(numerical, now, is_robust=False)

    assert distance is not None
    exact = stats.ks_2samp(before, now, method="asymp").statistic
    assert exact - 0.25 <= distance <= exact + 1e-12
