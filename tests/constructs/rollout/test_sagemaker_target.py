"""What SageMaker makes of a policy."""

import aws_cdk as cdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_constructs import RolloutChecks, RolloutPolicy, SageMakerTarget, ShadowTraffic

BAKE = cdk.Duration.minutes(5)


def target(count: int) -> SageMakerTarget:
    """An endpoint of ``count`` instances."""
    return SageMakerTarget(endpoint_name="demand-forecast", instance_count=count)


@pytest.mark.parametrize(
    ("count", "percent", "effective"), [(2, 50, 50.0), (3, 50, 33.3), (10, 25, 20.0), (1, 50, 0.0)]
)
def test_a_canary_is_whole_instances(count: int, percent: int, effective: float):
    """SageMaker moves a slice of the new fleet's instances."""
    assert RolloutPolicy.canary(percent=percent, bake=BAKE).effective_percent(target(count)) == effective


def test_all_at_once_moves_all():
    """Without steps everything moves."""
    assert RolloutPolicy.all_at_once().effective_percent(target(3)) == 100.0


@given(st.integers(1, 50), st.integers(1, 200))
def test_the_count_that_an_error_names_is_the_smallest_that_works(percent: int, count: int):
    """With the named count the canary has an instance, with one fewer it has none."""
    policy = RolloutPolicy.canary(percent=percent, bake=BAKE)
    problems = target(count).problems(policy)
    assert bool(problems) == (count * percent < 100)
    if problems:
        needed = int(problems[0].partition("count=")[2].split()[0])
        assert target(needed).problems(policy) == []
        assert target(needed - 1).problems(policy) != []


@pytest.mark.parametrize(
    "policy", [RolloutPolicy.linear(step_percent=25, bake=BAKE), RolloutPolicy.rolling(batch_percent=25, bake=BAKE)]
)
def test_executes_steps_of_whole_instances(policy: RolloutPolicy):
    """A quarter of four is one."""
    assert target(4).problems(policy) == []
    (problem,) = target(3).problems(policy)
    assert problem.startswith("a step of 25 % is less than one of 3 instances; use count=4 or more")


def test_fails_when_whole_instances_need_more_steps_than_there_is_time():
    """Thirty percent of five instances is one: five steps instead of four."""
    policy = RolloutPolicy.linear(
        step_percent=30, bake=cdk.Duration.minutes(30), max_execution_time=cdk.Duration.minutes(140)
    )
    assert target(10).problems(policy) == []
    (problem,) = target(5).problems(policy)
    assert "takes 5 steps: maximum must be longer than as many bakes (9000 s), got 8400 s" in problem


@pytest.mark.parametrize(
    "policy", [RolloutPolicy.canary(percent=50, bake=BAKE), RolloutPolicy.rolling(batch_percent=20, bake=BAKE)]
)
def test_refuses_by_name_what_a_serverless_endpoint_cannot(policy: RolloutPolicy):
    """SageMaker would shift all at once without saying so."""
    (problem,) = target(0).problems(policy)
    assert problem == (
        f"rollout must be ALL_AT_ONCE on a serverless endpoint, which has no instances to move in steps, got "
        f"{policy.kind.value}; use RolloutPolicy.all_at_once"
    )
    assert target(0).problems(RolloutPolicy.all_at_once()) == []


def test_a_shadow_takes_its_bake_and_two_updates():
    """The lock is held as long as it may take."""
    shadow = ShadowTraffic(percent=10, bake=BAKE)
    policy = RolloutPolicy.canary(percent=50, bake=BAKE, checks=RolloutChecks(shadow=shadow))
    assert target(2).problems(policy) == []
    assert target(2).lead_seconds(policy.to_spec()) == 300 + 2 * (4200 + 900)


def test_what_cannot_be_recorded_stays():
    """The next execution accepts what was judged under SageMaker's watch."""
    assert target(2).unrecorded(next_state="Unlock", partition="aws") == ("Unlock", {})
