"""Rollout policies: values, limits, and what a target makes of them."""

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs import RolloutKind, RolloutPolicy, ValidationError
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.rollout.limits import waits

MINUTES, SECONDS = cdk.Duration.minutes, cdk.Duration.seconds


def alarm(scope: cdk.Stack, name: str) -> cloudwatch.Alarm:
    """An alarm of a caller."""
    metric = cloudwatch.Metric(namespace="N", metric_name="M")
    return metric.create_alarm(scope, name, threshold=1, evaluation_periods=1)


def test_a_canary_becomes_a_spec():
    """Times are seconds, and the maximum has an hour more than the bakes."""
    policy = RolloutPolicy.canary(percent=50, bake=MINUTES(10), max_latency=cdk.Duration.millis(250))
    assert policy.to_spec() == RolloutSpec(
        kind="CANARY", bake=600, maximum=4800, percent=50, min_invocations=20, alarm_period=60, max_latency_ms=250
    )


def test_all_at_once_bakes_not_and_needs_no_evidence():
    """The plainest policy waits for nothing."""
    spec = RolloutPolicy.all_at_once().to_spec()
    assert (spec.kind, spec.bake, spec.min_invocations, spec.percent) == ("ALL_AT_ONCE", 0, 0, None)


@pytest.mark.parametrize(
    ("policy", "kind", "steps"),
    [
        (RolloutPolicy.linear(step_percent=30, bake=MINUTES(5)), RolloutKind.LINEAR, 4),
        (RolloutPolicy.rolling(batch_percent=25, bake=MINUTES(5)), RolloutKind.ROLLING, 4),
        (RolloutPolicy.canary(percent=10, bake=MINUTES(5)), RolloutKind.CANARY, 2),
    ],
)
def test_the_maximum_holds_all_bakes(policy: RolloutPolicy, kind: RolloutKind, steps: int):
    """Every policy that can be declared is one that the function of the serving spec accepts."""
    assert (policy.kind, policy.steps) == (kind, steps)
    assert waits(policy.to_spec()) < policy.maximum.to_seconds()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"percent": 51}, "percent must be from 1 to 50, got 51"),
        ({"percent": 0}, "percent must be from 1 to 50, got 0"),
        ({"bake": SECONDS(30)}, r"bake must be at least one alarm period \(60 s\), got 30 s"),
        ({"bake": MINUTES(61)}, "bake must be from"),
        ({"maximum": MINUTES(20)}, r"maximum must be longer than 2 bakes \(1200 s\), got 1200 s"),
        ({"maximum": MINUTES(481)}, "maximum must be from"),
        ({"min_invocations": -1}, "min_invocations must be from 0"),
        ({"alarm_period": SECONDS(90)}, "alarm_period must be one to five whole minutes, got 90 s"),
    ],
)
def test_fails_when_aws_would_ignore_or_refuse(arguments: dict[str, object], message: str):
    """Each limit is named with the value got."""
    with pytest.raises(ValidationError, match=message):
        RolloutPolicy.canary(**{"percent": 50, "bake": MINUTES(10), **arguments})  # type: ignore[arg-type]  # parametrised


def test_fails_when_evidence_is_asked_for_without_a_bake():
    """All at once without a bake would look for calls that had no time to come."""
    with pytest.raises(ValidationError, match="bake must be at least one alarm period"):
        RolloutPolicy.all_at_once(min_invocations=1)


def test_fails_with_more_alarms_than_a_deployment_takes():
    """SageMaker takes ten, of which the rollout makes two."""
    stack = cdk.Stack()
    alarms = [alarm(stack, f"A{n}") for n in range(9)]
    with pytest.raises(ValidationError, match="alarms must be at most 8, got 9"):
        RolloutPolicy.all_at_once(bake=MINUTES(5), alarms=alarms)


def test_reports_every_problem_at_once():
    """One error lists all."""
    with pytest.raises(ValidationError) as error:
        RolloutPolicy.canary(percent=90, bake=SECONDS(1), min_invocations=-1)
    assert len(error.value.problems) == 3
