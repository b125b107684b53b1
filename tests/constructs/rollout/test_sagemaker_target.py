"""SageMaker as a rollout target: clean-up, recovery from dead executions, and rendering of policies."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.constructs.rollout.test_deploy_machine import (
    CREATE,
    NAME,
    NEW,
    OLD,
    PLAN,
    REQUEST,
    FakeAws,
    machine,
    recorded,
)

from mlops_constructs import RolloutChecks, RolloutPolicy, SageMakerTarget, ShadowTraffic
from mlops_constructs._state_machine import successors, tasks
from mlops_constructs.rollout.sagemaker_target import clean_up_states, recovery_states

FIRST, STATES = clean_up_states(endpoint_name="e", next_state="Unlock")


MACHINE = machine()
LEFT = {"action": "adopt", "alarms": [], "create_model": {}, "create_endpoint_config": {}, "update_endpoint": {}}
RECOVERY: dict[str, Any] = REQUEST | {"reason": "spec", "died": {"execution": "arn:dead", "status": "ABORTED"}}


BAKE = cdk.Duration.minutes(5)


def test_every_state_is_reached_and_all_end_with_the_next():
    """There is no other exit and no failing state."""
    seen, left = set[str](), [FIRST]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += [] if name == "Unlock" else list(successors(STATES[name]))
    assert seen == {*STATES, "Unlock"}
    assert [name for name, state in STATES.items() if state["Type"] == "Fail"] == []


def test_what_cannot_be_deleted_is_passed_over():
    """Success and failure of each deletion lead to the same state."""
    deletions = [(name, state) for name, state in tasks({"States": STATES}) if ":delete" in state["Resource"]]
    assert len(deletions) == 5
    for name, state in deletions:
        assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name
        assert state["Catch"][-1]["Next"] == state["Next"], name


def test_one_thing_that_breaks_off_a_round_ends_no_execution():
    """Loops over versions and rehearsals continue as if completed."""
    rounds = [state for state in STATES.values() if state["Type"] == "Map"]
    assert rounds != []
    for state in rounds:
        assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]


def test_what_serves_is_never_deleted():
    """The endpoint is deleted only if nothing was promoted and this execution created it, or if a first one failed."""
    (choice,) = STATES["IsEndpointUnused"]["Choices"]
    for part in ("$outcome != 'PROMOTED'", "$applied", "$orphan", "$plan.action in ['create', 'discard']"):
        assert part in choice["Condition"]
    assert "$orphan" in STATES["WhatIsUnused"]["Assign"]["unused"]


@pytest.fixture
def recover(run_machine: Any, aws_error: type[Exception]) -> Callable[..., tuple[Any, FakeAws]]:
    """Run the machine on a fake account whose endpoint already serves the candidate."""

    def run(plan: dict[str, Any], *, request: dict[str, Any] = RECOVERY, **account: Any) -> Any:
        aws = FakeAws(aws_error, plan, updates=[OLD], invocations=account.pop("invocations", 100))
        aws.config = NEW
        for name, value in account.items():
            setattr(aws, name, value)
        return run_machine(MACHINE, request, aws), aws

    return run


def test_a_candidate_with_evidence_stays(recover: Any):
    """Creates and updates nothing: checks alarms and counts calls."""
    run, aws = recover(PLAN | LEFT)
    assert recorded(run)[0] == "PROMOTED"
    assert aws.config == NEW
    calls = [name for name in run.names() if name.startswith(("sagemaker:create", "sagemaker:update"))]
    assert calls == []
    assert "cloudwatch:describeAlarms" in run.names()
    assert aws.requests == 1


@pytest.mark.parametrize(
    ("account", "why"), [({"invocations": 3}, "served 3"), ({"firing": ["unit-errors"]}, "unit-errors")]
)
def test_a_candidate_without_evidence_goes_back(recover: Any, account: dict[str, Any], why: str):
    """Rolls back to the recorded live config and deletes the version."""
    run, aws = recover(PLAN | LEFT, **account)
    outcome, reason = recorded(run)
    assert (outcome, aws.config) == ("ROLLED_BACK", OLD)
    assert why in reason
    deleted = [a["EndpointConfigName"] for n, a in run.calls if n == "sagemaker:deleteEndpointConfig"]
    assert deleted == [NEW]


def test_a_candidate_that_cannot_be_judged_goes_back_at_once(recover: Any):
    """Rolls back without reading alarms or counts."""
    run, aws = recover(PLAN | LEFT | {"action": "revert", "reason": "the alarms are gone"})
    assert recorded(run) == ("ROLLED_BACK", "the alarms are gone")
    assert aws.config == OLD
    assert aws.requests == 0


def test_a_first_endpoint_that_failed_is_deleted(recover: Any):
    """It is recorded as a failure."""
    plan = CREATE | {"action": "discard", "config_name": None, "reason": "the first endpoint failed"}
    run, _ = recover(plan)
    assert recorded(run) == ("FAILED", "the first endpoint failed")
    assert [a for n, a in run.calls if n == "sagemaker:deleteEndpoint"] == [{"EndpointName": NAME}]


def test_an_approval_removes_it_first_and_makes_it_anew(recover: Any, aws_error: type[Exception]):
    """The endpoint is created again once DescribeEndpoint shows it is deleted."""
    gone = [("SageMaker.SageMakerException", 'Could not find endpoint "demand-forecast".')] * 4
    run, _ = recover(
        CREATE | {"remove": NAME}, request=REQUEST, updates=[NEW], fail={"sagemaker:describeEndpoint": gone}
    )
    names = run.names()
    assert names.index("sagemaker:deleteEndpoint") < names.index("sagemaker:createEndpoint")
    assert recorded(run)[0] == "PROMOTED"


def test_one_that_cannot_be_deleted_is_given_up():
    """Stops after 15 minutes and creates nothing."""
    _, states = recovery_states(endpoint_name=NAME, next_state="CreateModel")
    (late,) = states["IsRemovedLate"]["Choices"]
    assert (late["Condition"], late["Next"]) == ("{% $toMillis($now()) > $deadline %}", "RemovalFailed")
    assert "within 900 s" in states["RemovalFailed"]["Assign"]["reason"]
    assert states["RemoveFailed"]["Assign"] == {"deadline": "{% $toMillis($now()) + 900000 %}"}


def test_scaling_that_the_dead_one_took_back_is_registered_again(recover: Any):
    """Applies even without other steps."""
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{NAME}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    nothing = {"action": "nothing", "config_name": None, "scaling": PLAN["scaling"] | {"targets": [target]}}
    run, _ = recover(PLAN | nothing)
    assert [name for name in run.names() if name.startswith("applicationautoscaling")] != []
    other, _ = recover(PLAN | nothing, request=REQUEST)
    assert [name for name in other.names() if name.startswith("applicationautoscaling")] == []


def test_what_nobody_left_begins_where_it_always_did():
    """Other plans run as if there were no recovery."""
    first, states = recovery_states(endpoint_name=NAME, next_state="CreateModel")
    assert states[first]["Default"] == "CreateModel"


def target(count: int) -> SageMakerTarget:
    """An endpoint of ``count`` instances."""
    return SageMakerTarget(endpoint_name="demand-forecast", instance_count=count)


@pytest.mark.parametrize(
    ("count", "percent", "effective"), [(2, 50, 50.0), (3, 50, 33.3), (10, 25, 20.0), (1, 50, 0.0)]
)
def test_a_canary_is_whole_instances(count: int, percent: int, effective: float):
    """SageMaker shifts whole instances of the new fleet."""
    assert RolloutPolicy.canary(percent=percent, bake=BAKE).effective_percent(target(count)) == effective


def test_all_at_once_moves_all():
    """Shifts everything in one step."""
    assert RolloutPolicy.all_at_once().effective_percent(target(3)) == 100.0


@given(st.integers(1, 50), st.integers(1, 200))
def test_the_count_that_an_error_names_is_the_smallest_that_works(percent: int, count: int):
    """With the named count the canary has an instance, with one fewer none."""
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
    assert problem.startswith("a step of 25 % is less than one of 3 instances; use instance_count=4 or more")


def test_refuses_a_longer_bake_than_sagemaker_waits():
    """SageMaker waits at most one hour."""
    policy = RolloutPolicy.canary(percent=50, bake=BAKE, max_bake=cdk.Duration.minutes(90))
    (problem,) = target(2).problems(policy)
    assert problem == "max_bake must be at most 3600 s on SageMaker, got 5400 s; shorten it"


def test_fails_when_whole_instances_need_more_steps_than_there_is_time():
    """Thirty percent of five instances is one: five steps instead of four."""
    policy = RolloutPolicy.linear(
        step_percent=30, bake=cdk.Duration.minutes(30), max_execution_time=cdk.Duration.minutes(140)
    )
    assert target(10).problems(policy) == []
    (problem,) = target(5).problems(policy)
    assert "takes 5 steps: max_execution_time must be longer than their bakes (9000 s), got 8400 s" in problem


@pytest.mark.parametrize(
    "policy", [RolloutPolicy.canary(percent=50, bake=BAKE), RolloutPolicy.rolling(batch_percent=20, bake=BAKE)]
)
def test_refuses_by_name_what_a_serverless_endpoint_cannot(policy: RolloutPolicy):
    """SageMaker would silently shift all at once."""
    (problem,) = target(0).problems(policy)
    assert problem == (
        f"rollout must be ALL_AT_ONCE on a serverless endpoint, which has no instances to move in steps, got "
        f"{policy.kind.value}; use RolloutPolicy.all_at_once"
    )
    assert target(0).problems(RolloutPolicy.all_at_once()) == []


def test_a_shadow_takes_its_bake_and_two_updates():
    """The lock covers the whole duration."""
    shadow = ShadowTraffic(percent=10, bake=BAKE)
    policy = RolloutPolicy.canary(percent=50, bake=BAKE, checks=RolloutChecks(shadow=shadow))
    assert target(2).problems(policy) == []
    assert target(2).lead_seconds(policy.to_spec()) == 300 + 2 * (4200 + 900)


def test_what_cannot_be_recorded_stays():
    """The next execution accepts what SageMaker's alarms have evaluated."""
    assert target(2).unrecorded(next_state="Unlock") == ("Unlock", {})
