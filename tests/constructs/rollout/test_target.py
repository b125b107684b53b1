"""What SageMaker makes of a policy."""

import aws_cdk as cdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_constructs import RolloutPolicy, SageMakerTarget

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
    "policy", [RolloutPolicy.linear(step_percent=20, bake=BAKE), RolloutPolicy.rolling(batch_percent=20, bake=BAKE)]
)
def test_refuses_by_name_what_it_does_not_execute(policy: RolloutPolicy):
    """What a target cannot do is refused, never approximated."""
    (problem,) = target(4).problems(policy)
    assert problem == (
        f"rollout must be one of ALL_AT_ONCE, CANARY on SageMaker, got {policy.kind.value}; use RolloutPolicy.canary"
    )
