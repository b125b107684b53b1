"""What a rollout must pass: values and limits."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs import RolloutChecks, ShadowTraffic, ValidationError
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.serving import MetricRule
from mlops_runtime.rollout.fleet_alarms import alarm_kinds

RULE = MetricRule(namespace="Shop", metric="Refunds", threshold=5)


def alarms(count: int) -> list[cloudwatch.Alarm]:
    """Alarms of a caller."""
    stack = cdk.Stack()
    metric = cloudwatch.Metric(namespace="N", metric_name="M")
    return [metric.create_alarm(stack, f"A{n}", threshold=1, evaluation_periods=1) for n in range(count)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_invocations": -1}, "min_invocations must be from 0"),
        ({"max_error_count": -1}, "max_error_count must be from 0"),
        ({"max_latency": cdk.Duration.minutes(2)}, "max_latency must be from"),
        ({"max_latency_ratio": 0.5}, "max_latency_ratio must be from 1 to 100, got 0.5"),
        ({"alarm_period": cdk.Duration.seconds(90)}, "alarm_period must be one to five whole minutes, got 90 s"),
        ({"synthetic_invocations": 5}, "synthetic_invocations are golden requests, got none"),
        ({"probation": cdk.Duration.minutes(1)}, "probation must be from"),
        ({"retained_versions": 0}, "retained_versions must be from 1 to 10, got 0"),
    ],
)
def test_fails_when_a_check_cannot_work(arguments: dict[str, Any], message: str):
    """Each limit is named with the value got."""
    with pytest.raises(ValidationError, match=message):
        RolloutChecks(**arguments)


def test_fails_with_more_alarms_than_a_deployment_takes():
    """SageMaker takes ten, those of the new fleet among them."""
    assert len(RolloutChecks(alarms=alarms(8)).alarms) == 8
    with pytest.raises(
        ValidationError, match=r"at most 10 alarms, got 7 and 4 of the new fleet \(errors, ratio, metric-1, abort"
    ):
        RolloutChecks(alarms=alarms(7), max_latency_ratio=2, metrics=[RULE])


def test_fails_when_alarms_have_no_probation_to_watch():
    """They would take nothing back."""
    with pytest.raises(ValidationError, match="got 1 and no probation; give probation"):
        RolloutChecks(probation_alarms=alarms(1))


@pytest.mark.parametrize("ratio", [None, 1.5])
@pytest.mark.parametrize("metrics", [(), (RULE, RULE)])
def test_counts_the_alarms_that_the_rollout_makes(ratio: float | None, metrics: tuple[MetricRule, ...]):
    """The number that is checked at synth is the number that is made at run time."""
    checks = RolloutChecks(max_latency=cdk.Duration.millis(100), max_latency_ratio=ratio, metrics=metrics)
    spec = RolloutSpec(
        kind="ALL_AT_ONCE", bake=60, maximum=3600, max_latency_ms=100, max_latency_ratio=ratio, metrics=metrics
    )
    assert checks.own_alarms == alarm_kinds(spec)


def test_fails_with_every_problem_of_a_shadow():
    """Percent, bake and instances."""
    with pytest.raises(ValidationError) as error:
        ShadowTraffic(percent=0, bake=cdk.Duration.minutes(1), instance_count=0)
    assert len(error.value.problems) == 3
