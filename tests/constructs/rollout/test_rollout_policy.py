"""Rollout policies: values, limits, and rendering for a target."""

from collections.abc import Callable

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs import RolloutChecks, RolloutKind, RolloutPolicy, ShadowTraffic, ValidationError
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.serving import MetricRule, ShadowSpec
from mlops_runtime.rollout.serving_limits import waits

MINUTES, SECONDS = cdk.Duration.minutes, cdk.Duration.seconds


def alarm(scope: cdk.Stack, name: str) -> cloudwatch.Alarm:
    """An alarm of a caller."""
    metric = cloudwatch.Metric(namespace="N", metric_name="M")
    return metric.create_alarm(scope, name, threshold=1, evaluation_periods=1)


def test_a_canary_becomes_a_spec():
    """Times are in seconds, and the maximum is one hour longer than the bakes."""
    checks = RolloutChecks(max_latency=cdk.Duration.millis(250))
    policy = RolloutPolicy.canary(percent=50, bake=MINUTES(10), checks=checks)
    assert policy.to_spec() == RolloutSpec(
        kind="CANARY", bake=600, maximum=4800, percent=50, min_invocations=20, alarm_period=60, max_latency_ms=250
    )


def test_a_longest_bake_lengthens_the_maximum():
    """The maximum is one hour longer than the longest bakes."""
    spec = RolloutPolicy.canary(percent=50, bake=MINUTES(10), max_bake=MINUTES(60)).to_spec()
    assert (spec.bake, spec.max_bake, spec.maximum) == (600, 3600, 3600 + 2 * 3600)


def test_every_check_reaches_the_spec():
    """The machine and its functions read the declared values."""
    stack = cdk.Stack()
    rule = MetricRule(namespace="Shop", metric="Refunds", threshold=5)
    checks = RolloutChecks(
        alarms=[alarm(stack, "A")],
        min_invocations=7,
        max_error_count=2,
        max_latency_ratio=1.5,
        metrics=[rule],
        alarm_period=MINUTES(2),
        probation=cdk.Duration.days(1),
        probation_alarms=[alarm(stack, "B")],
        shadow=ShadowTraffic(percent=10, bake=MINUTES(30)),
        retained_versions=3,
    )
    spec = RolloutPolicy.linear(step_percent=25, bake=MINUTES(5), checks=checks).to_spec()
    assert (spec.kind, spec.percent, spec.min_invocations, spec.max_error_count) == ("LINEAR", 25, 7, 2)
    assert (spec.max_latency_ratio, spec.metrics, spec.alarm_period) == (1.5, (rule,), 120)
    assert (spec.probation, spec.keep, spec.shadow) == (86400, 3, ShadowSpec(percent=10, bake=1800))
    assert (len(spec.alarms), len(spec.probation_alarms or ())) == (1, 1)


def test_all_at_once_bakes_not_and_needs_no_evidence():
    """The simplest policy waits for nothing."""
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
    """The function of the serving spec accepts every policy that can be declared."""
    assert (policy.kind, policy.steps) == (kind, steps)
    assert waits(policy.to_spec(), 20) < policy.max_execution_time.to_seconds()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"percent": 51}, "percent must be from 1 to 50, got 51"),
        ({"percent": 0}, "percent must be from 1 to 50, got 0"),
        ({"bake": SECONDS(30)}, r"bake must be at least one alarm period \(60 s\), got 30 s"),
        ({"bake": MINUTES(61)}, "bake must be from"),
        ({"max_execution_time": MINUTES(20)}, r"max_execution_time must be longer than 2 bakes \(1200 s\), got 1200 s"),
        ({"max_bake": MINUTES(5)}, "max_bake must be from"),
        ({"bake": SECONDS(0), "max_bake": MINUTES(5)}, "max_bake extends a bake, got a bake of 0 s; give bake"),
        ({"max_bake": MINUTES(60), "max_execution_time": MINUTES(120)}, r"longer than 2 bakes \(7200 s\), got 7200 s"),
        ({"max_execution_time": MINUTES(481)}, "max_execution_time must be from"),
        (
            {"checks": RolloutChecks(alarm_period=MINUTES(5)), "bake": MINUTES(4)},
            r"one alarm period \(300 s\), got 240",
        ),
    ],
)
def test_fails_when_aws_would_ignore_or_refuse(arguments: dict[str, object], message: str):
    """Errors name each limit with the value."""
    with pytest.raises(ValidationError, match=message):
        RolloutPolicy.canary(**{"percent": 50, "bake": MINUTES(10), **arguments})  # type: ignore[arg-type]  # parametrised


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RolloutPolicy.linear(step_percent=9, bake=MINUTES(5)), "step_percent must be from 10 to 50, got 9"),
        (lambda: RolloutPolicy.rolling(batch_percent=4, bake=MINUTES(5)), "batch_percent must be from 5 to 50, got 4"),
        (
            lambda: RolloutPolicy.rolling(batch_percent=51, bake=MINUTES(5)),
            "batch_percent must be from 5 to 50, got 51",
        ),
    ],
)
def test_fails_when_a_step_has_a_size_that_sagemaker_refuses(make: Callable[[], object], message: str):
    """Linear steps are 10 to 50 percent, batches 5 to 50."""
    with pytest.raises(ValidationError, match=message):
        make()


@pytest.mark.parametrize(
    "checks",
    [
        RolloutChecks(min_invocations=1),
        RolloutChecks(max_latency_ratio=2),
        RolloutChecks(metrics=[MetricRule(namespace="Shop", metric="Refunds", threshold=5)]),
    ],
)
def test_fails_when_something_is_watched_without_a_bake(checks: RolloutChecks):
    """Shifting all at once without a bake leaves no time for alarms."""
    with pytest.raises(ValidationError, match="bake must be at least one alarm period"):
        RolloutPolicy.all_at_once(checks=checks)


def test_reports_every_problem_at_once():
    """One error lists all."""
    with pytest.raises(ValidationError) as error:
        RolloutPolicy.canary(percent=90, bake=SECONDS(1), max_execution_time=MINUTES(1))
    assert len(error.value.problems) == 3
