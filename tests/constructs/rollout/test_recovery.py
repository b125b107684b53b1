"""What an execution that died has left: judged, taken back or removed, by the machine run against a fake AWS."""

from collections.abc import Callable
from typing import Any

import pytest
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

from mlops_constructs.rollout.recovery import recovery_states

MACHINE = machine()
LEFT = {"action": "adopt", "alarms": [], "create_model": {}, "create_endpoint_config": {}, "update_endpoint": {}}
RECOVERY: dict[str, Any] = REQUEST | {"reason": "spec", "died": {"execution": "arn:dead", "status": "ABORTED"}}


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
    """Nothing is made and nothing updated: alarms are looked at, calls are counted."""
    run, aws = recover(PLAN | LEFT)
    assert recorded(run)[0] == "PROMOTED"
    assert aws.config == NEW
    calls = [name for name in run.names() if name.startswith(("sagemaker:create", "sagemaker:update"))]
    assert calls == []
    assert {"cloudwatch:describeAlarms", "cloudwatch:getMetricStatistics"} <= set(run.names())


@pytest.mark.parametrize(
    ("account", "why"), [({"invocations": 3}, "served 3"), ({"ringing": ["unit-errors"]}, "unit-errors")]
)
def test_a_candidate_without_evidence_goes_back(recover: Any, account: dict[str, Any], why: str):
    """To what is recorded as live; its version is deleted."""
    run, aws = recover(PLAN | LEFT, **account)
    outcome, reason = recorded(run)
    assert (outcome, aws.config) == ("ROLLED_BACK", OLD)
    assert why in reason
    deleted = [a["EndpointConfigName"] for n, a in run.calls if n == "sagemaker:deleteEndpointConfig"]
    assert deleted == [NEW]


def test_a_candidate_that_cannot_be_judged_goes_back_at_once(recover: Any):
    """Without a look at anything."""
    run, aws = recover(PLAN | LEFT | {"action": "revert", "reason": "the alarms are gone"})
    assert recorded(run) == ("ROLLED_BACK", "the alarms are gone")
    assert aws.config == OLD
    assert "cloudwatch:getMetricStatistics" not in run.names()


def test_a_first_endpoint_that_failed_is_deleted(recover: Any):
    """And recorded as the failure that it is."""
    plan = CREATE | {"action": "discard", "config_name": None, "reason": "the first endpoint failed"}
    run, _ = recover(plan)
    assert recorded(run) == ("FAILED", "the first endpoint failed")
    assert [a for n, a in run.calls if n == "sagemaker:deleteEndpoint"] == [{"EndpointName": NAME}]


def test_an_approval_removes_it_first_and_makes_it_anew(recover: Any, aws_error: type[Exception]):
    """Once it is gone, which only the endpoint itself says."""
    gone = [("SageMaker.SageMakerException", 'Could not find endpoint "demand-forecast".')] * 4
    run, _ = recover(
        CREATE | {"remove": NAME}, request=REQUEST, updates=[NEW], fail={"sagemaker:describeEndpoint": gone}
    )
    names = run.names()
    assert names.index("sagemaker:deleteEndpoint") < names.index("sagemaker:createEndpoint")
    assert recorded(run)[0] == "PROMOTED"


def test_one_that_cannot_be_deleted_is_given_up():
    """After a quarter of an hour; nothing is made."""
    _, states = recovery_states(endpoint_name=NAME, next_state="CreateModel", partition="aws")
    (late,) = states["IsRemovedLate"]["Choices"]
    assert (late["Condition"], late["Next"]) == ("{% $toMillis($now()) > $deadline %}", "RemovalFailed")
    assert "within 900 s" in states["RemovalFailed"]["Assign"]["reason"]
    assert states["RemoveFailed"]["Assign"] == {"deadline": "{% $toMillis($now()) + 900000 %}"}


def test_scaling_that_the_dead_one_took_back_is_registered_again(recover: Any):
    """Also where nothing else is to be done."""
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
    """Every other plan goes on as if there were no recoveries."""
    first, states = recovery_states(endpoint_name=NAME, next_state="CreateModel", partition="aws")
    assert states[first]["Default"] == "CreateModel"
