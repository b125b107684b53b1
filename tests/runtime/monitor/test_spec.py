"""MonitorSpec: defaults, the JSON round trip and all bounds."""

import re
from typing import Any

import pytest

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.monitor.monitors.latency_measures import PERCENTILES
from mlops_runtime.monitor.spec import LATENCY_PERCENTILES, MonitorSpec


def test_defaults_are_sample_size_robust() -> None:
    """The defaults test for a minimum effect at a family-wise level of 1 %."""
    spec = MonitorSpec()
    assert (spec.minimum_effect, spec.significance, spec.minimum_rows) == (0.01, 0.01, 200)


def test_a_spec_survives_its_json() -> None:
    """The function reads the spec that the construct renders."""
    spec = MonitorSpec(features=("price", "units"), alarm_features=("price",), minimum_effect=0.05)
    assert from_dict(MonitorSpec, to_dict(spec)) == spec


def test_fails_with_every_setting_out_of_range_at_once() -> None:
    """Reports all problems together, each with its value and the allowed range."""
    with pytest.raises(ValueError) as caught:
        MonitorSpec(
            minimum_effect=2,
            significance=0.5,
            minimum_rows=10,
            minimum_labels=0,
            maximum_wape_ratio=0.5,
            label_delay_hours=-1,
        )
    assert str(caught.value) == (
        "minimum_effect must be from 0 up to 1, got 2; significance must be above 0 and below 0.5, got 0.5; "
        "minimum_rows must be at least 50, got 10; minimum_labels must be at least 1, got 0; "
        "maximum_wape_ratio must be at least 1, got 0.5; label_delay_hours must be at least 0, got -1"
    )


def test_the_live_wape_may_be_held_to_the_holdouts_own() -> None:
    """The ratio is at least 1, because below it a model better than its holdout would violate."""
    assert MonitorSpec(maximum_wape_ratio=1).maximum_wape_ratio == 1


def test_fails_for_a_repeated_feature_and_for_an_alarm_on_an_untested_one() -> None:
    """An alarm on an untested feature would never fire."""
    with pytest.raises(
        ValueError,
        match=r"features must name each feature once, got 'a' twice; alarm_features must be among features, got 'b'",
    ):
        MonitorSpec(features=("a", "a"), alarm_features=("b",))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"quality_limits": {"aucc": 0.8}},
            "quality_limits must be of wape, bias, mae, rmse, r2, interval_coverage, auc,",
        ),
        ({"quality_limits": {"auc": 8}}, "quality_limits of auc must be from 0 up to 1, got 8"),
        ({"quality_limits": {"auc": "0.8"}}, "quality_limits of auc must be a number, from 0 up to 1, got '0.8'"),
        ({"quality_limits": {"bias": -3}}, "quality_limits of bias must be at least 0, got -3"),
        (
            {"quality_limits": {"auc": 0.8, "rmse": 2}},
            "quality_limits must be metrics of one kind of model, got rmse of a regression and auc of a classification",
        ),
        ({"quality_limits": ["auc"]}, "quality_limits must be limits by name, such as {'wape': 0.5}, got ['auc']"),
        (
            {"estimate_limits": {"r2": 0.8}},
            "estimate_limits must be of wape, mae, rmse, auc, f1, precision, recall, accuracy, brier, log_loss, "
            "macro_recall, got 'r2'",
        ),
        ({"estimate_limits": {"recall/barbera": 0.8}}, "macro_recall, got 'recall/barbera'"),
        ({"estimate_limits": {"auc": 8}}, "estimate_limits of auc must be from 0 up to 1, got 8"),
        (
            {"estimate_limits": {"auc": 0.8, "mae": 2}},
            "estimate_limits must be metrics of one kind of model, got mae of a regression and auc of a classification",
        ),
        ({"latency_limits": {"p42": 3}}, "latency_limits must be of p50, p95, p99, got 'p42'"),
        ({"latency_limits": {"p99": -3}}, "latency_limits of p99 must be above 0, got -3"),
        ({"features": "price"}, "features must be a tuple of features' names, such as ('price',), got 'price'"),
        (
            {"alarm_features": "price"},
            "alarm_features must be a tuple of features' names, such as ('price',), got 'price'",
        ),
        ({"amounts": ("",)}, "amounts must be a tuple of features' names, such as ('price',), got ('',)"),
        ({"features": ("a",), "amounts": ("b",)}, "amounts must be among features, got 'b'"),
        ({"minimum_effect": "0.1"}, "minimum_effect must be a number, from 0 up to 1, got '0.1'"),
        ({"minimum_rows": 200.5}, "minimum_rows must be a whole number, at least 50, got 200.5"),
        ({"minimum_ndcg": True}, "minimum_ndcg must be a number, from 0 up to 1, got True"),
        ({"maximum_wape_ratio": float("nan")}, "maximum_wape_ratio must be a number, at least 1, got nan"),
        ({"maximum_latency_ratio": float("inf")}, "maximum_latency_ratio must be a number, above 1, got inf"),
        ({"alarm_windows": 3, "of_windows": 2}, "alarm_windows must be 1 to of_windows, 2, got 3"),
        ({"alarm_windows": "2", "of_windows": None}, "of_windows must be a whole number, 1 to 10, got None"),
    ],
)
def test_fails_for_what_would_never_alarm(arguments: dict[str, Any], problem: str) -> None:
    """Rejects thresholds without a comparison, which look like thresholds never reached."""
    with pytest.raises(ValueError, match=re.escape(problem)):
        MonitorSpec(**arguments)


def test_limits_are_of_the_percentiles_that_are_measured() -> None:
    """The names, repeated where numpy is not installed, equal those of the measuring module."""
    assert tuple(LATENCY_PERCENTILES) == PERCENTILES
