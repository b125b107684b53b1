"""How many instances a policy calls for."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_local.autoscaling import rules


@given(current=st.integers(1, 50), value=st.floats(0, 1e4), target=st.floats(1, 1e3))
def test_tracking_brings_the_metric_to_its_target(current: int, value: float, target: float) -> None:
    """Scaled out, no instance has more than its target; scaled in, as little as that allows; never the other way."""
    out = rules.tracked(current, value, target, is_out=True)
    back = rules.tracked(current, value, target, is_out=False)
    assert out >= current >= back
    assert current * value / out <= target * (1 + 1e-6)
    if back > 1:
        assert current * value / (back - 1) >= target * (1 - 1e-6) or back == current


@pytest.mark.parametrize(
    ("current", "over", "expected"),
    [(4, 0.0, 5), (4, 9.9, 5), (4, 10.0, 7), (4, -1.0, 3), (4, -11.0, 4)],
)
def test_steps_are_found_by_how_far_the_metric_is_over(current: int, over: float, expected: int) -> None:
    """Bounds are relative to the alarm's threshold; where no step fits nothing changes.

    https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html
    """
    steps = [
        {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 3},
        {"MetricIntervalLowerBound": -10.0, "MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1},
    ]
    assert rules.stepped(current, over, {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps}) == expected


@pytest.mark.parametrize(
    ("kind", "amount", "extra", "expected"),
    [
        ("ExactCapacity", 7, {}, 7),
        ("PercentChangeInCapacity", 25, {}, 12),
        ("PercentChangeInCapacity", 1, {}, 11),
        ("PercentChangeInCapacity", -15, {}, 9),
        ("PercentChangeInCapacity", 10, {"MinAdjustmentMagnitude": 4}, 14),
    ],
)
def test_adjusts_by_each_type(kind: str, amount: int, extra: dict[str, Any], expected: int) -> None:
    """Percentages are rounded towards zero, below one away from it, and move by at least the magnitude."""
    step = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": amount}
    policy = {"AdjustmentType": kind, "StepAdjustments": [step], **extra}
    assert rules.stepped(10, 0.0, policy) == expected
    assert math.isfinite(rules.COOLDOWN)
