"""The guard with its sources: the executions that it starts, and how often."""

import json
from datetime import timedelta
from typing import Any

import pytest
from tests.runtime.rollout.world import ENDPOINT, MACHINE, NOW, World

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest
from mlops_runtime.lambda_protocol import Message
from mlops_runtime.rollout.deploy_guard import GuardSettings
from mlops_runtime.rollout.deploy_start import DeployGuard

PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/3"
EVENT = {"account": "123456789012", "region": "us-east-1", "time": "2017-08-01T09:00:00Z"}
ALARM = EVENT | {
    "id": "a1",
    "source": "aws.cloudwatch",
    "detail-type": "CloudWatch Alarm State Change",
    "resources": ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:refunds"],
    "detail": {"alarmName": "refunds", "state": {"value": "ALARM"}},
}


def handle(world: World, event: object, body: str | None = None) -> str | None:
    """Pass a message to the guard."""
    guard = DeployGuard(
        stepfunctions=world.stepfunctions,
        cloudwatch=world.cloudwatch,
        sagemaker=world.sagemaker,
        table=world.table,
        settings=GuardSettings(machine_arn=MACHINE, group=ENDPOINT, alarms=("refunds",)),
    )
    return guard.handle(Message(id="m1", body=json.dumps(event) if body is None else body, sent=NOW))


def request_of(world: World, arn: str) -> DeployRequest:
    """Return the input of an execution."""
    return from_json(DeployRequest, world.stepfunctions.describe_execution(executionArn=arn)["input"])


def died(world: World, request: str = "{}", *, holds: bool = True) -> tuple[str, dict[str, Any]]:
    """Stop an execution that has the lock, and return it with its event."""
    start = world.stepfunctions.start_execution
    arn = start(stateMachineArn=MACHINE, name="approval-1-x", input=request)["executionArn"]
    if holds:
        world.lock(arn)
    world.stepfunctions.stop_execution(executionArn=arn)
    return arn, EVENT | {
        "id": "s1",
        "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"executionArn": arn, "stateMachineArn": MACHINE, "status": "ABORTED"},
    }


def approved(package: str) -> dict[str, Any]:
    """Return the event of an approval."""
    return EVENT | {
        "id": "p1",
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Package State Change",
        "detail": {"ModelPackageArn": package, "ModelApprovalStatus": "Approved"},
    }


def test_an_approval_starts_one_execution(world: World) -> None:
    """For any number of deliveries, under another id too; an existing execution is success."""
    package = world.package()
    event = approved(package)
    arn = handle(world, event)
    assert arn is not None
    assert handle(world, event) == arn
    assert handle(world, event | {"id": "p2"}) == arn
    assert len(world.executions()) == 1
    assert request_of(world, arn).model_package_arn == package


def test_what_the_registry_does_not_call_approved_starts_nothing(world: World) -> None:
    """An event of an unknown or pending package locks and writes nothing."""
    waiting = world.package("PendingManualApproval")
    row = world.table.read()
    for package in (PACKAGE.replace("/3", "/9"), waiting):
        assert handle(world, approved(package)) is None
    assert world.executions() == []
    assert world.table.read() == row


def test_an_alarm_starts_a_rollback_during_probation_only(world: World) -> None:
    """The pointer's probation end and CloudWatch's alarm state are read again."""
    world.point(world.pointer("v1", PACKAGE, probation_until=(NOW + timedelta(hours=1)).isoformat()))
    world.alarm("refunds", "OK")
    assert handle(world, ALARM) is None
    world.alarm("refunds", "ALARM")
    arn = handle(world, ALARM)
    assert arn is not None
    request = request_of(world, arn)
    assert (request.reason, request.alarm) == (DeployReason.ROLLBACK, "refunds")
    world.point(world.pointer("v1", PACKAGE))
    assert handle(world, ALARM | {"id": "a2"}) is None
    assert len(world.executions()) == 1


def test_an_execution_that_died_is_recovered_once(world: World) -> None:
    """One execution cleans up and takes over the lock without a gap."""
    execution, event = died(world)
    arn = handle(world, event)
    assert arn is not None
    assert request_of(world, arn).reason is DeployReason.SPEC
    assert world.table.read().owner == arn
    assert execution in request_of(world, arn).requested_by
    world.table.release(arn)
    assert handle(world, event) is None
    assert len(world.executions()) == 2


def test_a_recovery_is_told_what_it_recovers(world: World) -> None:
    """It gets the dead execution's request from Step Functions."""
    requested = canonical_json(world.request("approval", PACKAGE)).decode()
    execution, event = died(world, requested)
    arn = handle(world, event)
    assert arn is not None
    reported = request_of(world, arn).died
    assert reported is not None
    assert (reported.execution, reported.status, reported.reason) == (execution, "ABORTED", "approval")
    assert (reported.requested_by, reported.model_package_arn) == ("someone", PACKAGE)


def test_a_recovery_of_something_started_by_hand_does_not_know_what_it_was(world: World) -> None:
    """Its input was not a request."""
    _, event = died(world, "{}")
    arn = handle(world, event)
    assert arn is not None
    reported = request_of(world, arn).died
    assert reported is not None
    assert (reported.reason, reported.requested_by, reported.model_package_arn) == ("unknown", "unknown", None)


def test_a_message_that_was_cut_off_finds_the_lock_still_held(world: World) -> None:
    """If the guard died after the start, the repeated message hands the lock over and starts nothing more."""
    execution, event = died(world)
    first = handle(world, event)
    assert first is not None
    world.table.release(first)
    world.lock(execution)
    assert handle(world, event) == first
    assert world.table.read().owner == first
    assert handle(world, event) == first
    assert len(world.executions()) == 2


def test_the_lock_of_a_recovery_that_dies_is_released(world: World) -> None:
    """Recoveries do not repeat for ever."""
    _, event = died(world)
    arn = handle(world, event)
    assert arn is not None
    world.stepfunctions.stop_execution(executionArn=arn)
    end = event | {"id": "s2", "detail": {**event["detail"], "executionArn": arn}}
    assert handle(world, end) is None
    assert world.table.read().owner is None
    assert len(world.executions()) == 2


def test_an_execution_that_came_to_its_own_end_is_left_alone(world: World) -> None:
    """It released its own lock, and no other lock is taken."""
    _, event = died(world, holds=False)
    world.lock("another")
    assert handle(world, event) is None
    assert world.table.read().owner == "another"


def test_a_forged_end_takes_no_lock(world: World) -> None:
    """Step Functions reports that the execution still runs."""
    arn = world.stepfunctions.start_execution(stateMachineArn=MACHINE, name="approval-1-x")["executionArn"]
    world.lock(arn)
    event = EVENT | {
        "id": "s1",
        "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"executionArn": arn, "status": "ABORTED"},
    }
    assert handle(world, event) is None
    assert world.table.read().owner == arn


@pytest.mark.parametrize("body", ["", "{}", "[]", "null", '{"source": "aws.sagemaker"}'])
def test_what_is_no_event_starts_nothing(world: World, body: str) -> None:
    """The message leaves the queue."""
    assert handle(world, None, body=body) is None
    assert world.executions() == []
