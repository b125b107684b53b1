"""Desired instances of scaling policies.

Scheduled actions, target tracking and step scaling, on the embedded clock.
"""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from tests.local.sagemaker.conftest import Plane

from mlops_local.autoscaling import scaling_engine

MINUTE = timedelta(minutes=1)
Make = Callable[..., dict[str, Any]]


@given(current=st.integers(1, 50), value=st.floats(0, 1e4), target=st.floats(1, 1e3))
def test_tracking_brings_the_metric_to_its_target(current: int, value: float, target: float) -> None:
    """After scaling out no instance exceeds the target; scaling in goes as low as that allows; never the other direction."""
    out = scaling_engine.tracked(current, value, target, is_out=True)
    back = scaling_engine.tracked(current, value, target, is_out=False)
    assert out >= current >= back
    assert current * value / out <= target * (1 + 1e-6)
    if back > 1:
        assert current * value / (back - 1) >= target * (1 - 1e-6) or back == current


@pytest.mark.parametrize(
    ("current", "over", "expected"),
    [(4, 0.0, 5), (4, 9.9, 5), (4, 10.0, 7), (4, -1.0, 3), (4, -11.0, 4)],
)
def test_steps_are_found_by_how_far_the_metric_is_over(current: int, over: float, expected: int) -> None:
    """Bounds are relative to the alarm's threshold; without a matching step nothing changes.

    https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html
    """
    steps = [
        {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 3},
        {"MetricIntervalLowerBound": -10.0, "MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1},
    ]
    assert (
        scaling_engine.stepped(current, over, {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps})
        == expected
    )


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
    """Percentages are rounded towards zero, values below one away from it, and a change is at least the minimum magnitude."""
    step = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": amount}
    policy = {"AdjustmentType": kind, "StepAdjustments": [step], **extra}
    assert scaling_engine.stepped(10, 0.0, policy) == expected
    assert math.isfinite(scaling_engine.COOLDOWN)


def _put(plane: Plane, metric: str, value: float, namespace: str = "AWS/SageMaker", **dimensions: str) -> None:
    named = [{"Name": name, "Value": text} for name, text in dimensions.items()]
    datum = {"MetricName": metric, "Dimensions": named, "Value": value}
    plane.cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])


def test_scheduled_actions_move_the_bounds_at_their_time(
    plane: Plane, registered: Make, capacity: Callable[[str], int]
) -> None:
    """A capacity outside of the new bounds moves; one-time actions are deleted afterwards.

    https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-scheduled-scaling.html
    """
    client, target = plane.cloud.client("application-autoscaling"), registered("scheduled")
    now = datetime.fromisoformat(plane.cloud.clock()["now"])
    later = now + timedelta(hours=3)
    client.put_scheduled_action(
        **target,
        ScheduledActionName="peak",
        Schedule=f"at({later:%Y-%m-%dT%H:%M:%S})",
        ScalableTargetAction={"MinCapacity": 3, "MaxCapacity": 6},
    )
    night = (later + timedelta(hours=2)).replace(minute=0)
    client.put_scheduled_action(
        **target,
        ScheduledActionName="night",
        Schedule=f"cron(0 {night.hour} * * ? *)",
        ScalableTargetAction={"MinCapacity": 1, "MaxCapacity": 1},
    )
    plane.cloud.clock_jump(to=later - MINUTE)
    assert capacity("scheduled") == 2
    plane.cloud.clock_jump(to=later + timedelta(seconds=1))
    assert capacity("scheduled") == 3
    described = client.describe_scheduled_actions(ServiceNamespace="sagemaker", ResourceId=target["ResourceId"])
    assert [action["ScheduledActionName"] for action in described["ScheduledActions"]] == ["night"]
    plane.cloud.clock_jump(to=night + MINUTE)
    assert capacity("scheduled") == 1
    found = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])
    assert [found["ScalableTargets"][0][name] for name in ("MinCapacity", "MaxCapacity")] == [1, 1]
    activities = client.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=target["ResourceId"])
    assert [row["StatusCode"] for row in activities["ScalingActivities"]] == ["Successful", "Successful"]
    assert activities["ScalingActivities"][0]["Description"] == "Setting desired instance count to 1."
    client.deregister_scalable_target(**target)


def test_target_tracking_follows_invocations_per_instance(
    plane: Plane, registered: Make, capacity: Callable[[str], int]
) -> None:
    """Three minutes above the target scale out proportionally within the bounds; fifteen far below scale in."""
    client, target = plane.cloud.client("application-autoscaling"), registered("tracked")
    made = client.put_scaling_policy(
        **target,
        PolicyName="target",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 100.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleOutCooldown": 60,
            "ScaleInCooldown": 60,
        },
    )
    names = [alarm["AlarmName"] for alarm in made["Alarms"]]
    assert [name.partition("-Alarm")[2].partition("-")[0] for name in names] == ["High", "Low"]
    assert names[0].startswith("TargetTracking-endpoint/tracked/variant/AllTraffic-AlarmHigh-")
    alarms = plane.cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert {(alarm["Threshold"], alarm["EvaluationPeriods"]) for alarm in alarms} == {(100.0, 3), (90.0, 15)}
    dimensions = {"EndpointName": "tracked", "VariantName": "AllTraffic"}
    for _ in range(4):
        _put(plane, "InvocationsPerInstance", 140.0, **dimensions)
        plane.cloud.clock_jump(by=MINUTE)
    plane.cloud.clock_jump(by=MINUTE)
    assert capacity("tracked") == 4  # a load that stays high scales to the maximum
    for _ in range(18):
        _put(plane, "InvocationsPerInstance", 20.0, **dimensions)
        plane.cloud.clock_jump(by=MINUTE)
    assert capacity("tracked") == 1
    client.delete_scaling_policy(**target, PolicyName="target")
    assert plane.cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"] == []
    with pytest.raises(ClientError, match="No scaling policy found for policy name: target"):
        client.delete_scaling_policy(**target, PolicyName="target")


def test_a_step_policy_is_called_by_an_alarm_of_ones_own(
    plane: Plane, registered: Make, capacity: Callable[[str], int]
) -> None:
    """The alarm's action is the policy; while the alarm is in ALARM the policy runs again after each cooldown."""
    client, target = plane.cloud.client("application-autoscaling"), registered("stepped", maximum=4)
    step = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}
    arn = client.put_scaling_policy(
        **target,
        PolicyName="wake",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [step],
            "Cooldown": 120,
            "MetricAggregationType": "Average",
        },
    )["PolicyARN"]
    assert arn.endswith(":resource/sagemaker/endpoint/stepped/variant/AllTraffic:policyName/wake")
    plane.cloudwatch.put_metric_alarm(
        AlarmName="stepped",
        AlarmActions=[arn],
        Namespace="Test",
        MetricName="Waiting",
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    _put(plane, "Waiting", 1.0, namespace="Test")
    plane.cloud.clock_jump(by=2 * MINUTE)
    assert capacity("stepped") == 3
    for _ in range(6):
        _put(plane, "Waiting", 1.0, namespace="Test")
        plane.cloud.clock_jump(by=MINUTE)
    assert capacity("stepped") == 4
