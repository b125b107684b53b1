"""Names of scalable targets, and validation of policies.

Policies are validated when they are put.
"""

from typing import Any

import pytest

from mlops_local.autoscaling import scaling_store
from mlops_local.sagemaker.api_shapes import ServiceError

TRACKING: dict[str, Any] = {
    "TargetValue": 10.0,
    "CustomizedMetricSpecification": {"Namespace": "N", "MetricName": "M", "Statistic": "Average"},
}
STEPS = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": 1}]}
ARN = "arn:aws:autoscaling:us-east-1:000000000000:scalingPolicy:00000000-0000-0000-0000-000000000000:resource/r"


def test_a_target_knows_its_endpoint_and_variant() -> None:
    """The resource id names both."""
    target = scaling_store.Target(record={"ResourceId": "endpoint/e/variant/v"})
    assert (target.endpoint, target.variant) == ("e", "v")
    assert not scaling_store.is_registered("e", "v")


def test_tracks_a_metric_of_ones_own_without_scaling_in() -> None:
    """A customized metric is tracked as given; with scale-in disabled there is no low alarm."""
    policy = {"PolicyARN": ARN, "TargetTrackingScalingPolicyConfiguration": TRACKING | {"DisableScaleIn": True}}
    (alarm,) = scaling_store.alarms("endpoint/e/variant/v", policy)
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"]) == ("N", "M", 10.0)
    assert alarm["AlarmActions"] == [ARN]
    assert scaling_store.alarms("endpoint/e/variant/v", {"PolicyARN": ARN}) == []


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"PolicyType": "PredictiveScaling"}, "PolicyType PredictiveScaling is not in the embedded cloud"),
        ({"PolicyType": "StepScaling"}, "must have StepScalingPolicyConfiguration and no other"),
        ({"TargetTrackingScalingPolicyConfiguration": TRACKING}, "a policy of type StepScaling must have"),
        ({"StepScalingPolicyConfiguration": {}}, "needs AdjustmentType; .*needs StepAdjustments"),
        (
            {"PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 0.0}},
            "TargetValue must be positive, got 0.0; give either",
        ),
        (
            {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": 1.0,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
                },
            },
            "PredefinedMetricType must be SageMakerVariantInvocationsPerInstance",
        ),
        (
            {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": 1.0,
                    "CustomizedMetricSpecification": {"Metrics": []},
                },
            },
            "needs Namespace, MetricName, Statistic; metric math is not in the embedded cloud",
        ),
    ],
)
def test_fails_on_what_does_not_go_together(request_: dict[str, Any], message: str) -> None:
    """Rejects invalid combinations by name, and accepts valid ones."""
    with pytest.raises(ServiceError, match=message):
        scaling_store.check(request_)
    scaling_store.check({"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": STEPS})
    scaling_store.check({"PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": TRACKING})
