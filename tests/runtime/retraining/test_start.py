"""The guard against real state: duplicates, crashes between side effects, storms."""

import json
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from rollout_world import NOW, World

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.retraining import Decision, RetrainRequest
from mlops_runtime.messages import Message
from mlops_runtime.retraining.guard import GuardSettings
from mlops_runtime.retraining.start import RetrainGuard

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Retrain"
SETTINGS = GuardSettings(
    pipeline="demand-forecast", machine_arn=MACHINE, alarms=("demand-drift",), cool_down=86_400, daily_budget=2
)


def _guard(world: World, **changes: Any) -> RetrainGuard:
    made = RetrainGuard(
        dynamodb=world.dynamodb,
        cloudwatch=world.cloudwatch,
        stepfunctions=world.stepfunctions,
        table="retraining",
        settings=SETTINGS,
    )
    return replace(made, **changes)


def _message(event_id: str = "e1", at: datetime = NOW, manual: bool = False, **changes: Any) -> Message:
    event: dict[str, Any] = {"id": event_id, "account": "123456789012", "time": at.isoformat()}
    if manual:
        detail = {"id": event_id, "subject": "demand-forecast", "outcome": "REQUESTED"}
        event |= {"detail-type": "MLOps Retraining Requested", "source": "mlops.demand", "detail": detail}
    else:
        detail = {"alarmName": "demand-drift", "state": {"value": "ALARM"}}
        event |= {"detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch", "detail": detail}
    return Message(id=f"m-{event_id}", body=json.dumps(event | changes), sent=at)


def _item(world: World, item: str) -> dict[str, Any]:
    key = {"pipeline": {"S": "demand-forecast"}, "item": {"S": item}}
    return dict(world.dynamodb.get_item(TableName="retraining", Key=key).get("Item", {}))


def release(world: World, owner: str) -> None:
    """Release the lock as the Retrain machine does."""
    world.dynamodb.update_item(
        TableName="retraining",
        Key={"pipeline": {"S": "demand-forecast"}, "item": {"S": "STATE"}},
        UpdateExpression="REMOVE #owner, lock_until",
        ConditionExpression="#owner = :me",
        ExpressionAttributeNames={"#owner": "owner"},
        ExpressionAttributeValues={":me": {"S": owner}},
    )


@pytest.fixture
def ringing(world: World) -> World:
    """A world in which the alarm rings."""
    world.alarm("demand-drift", "ALARM")
    return world


def test_an_alarm_starts_one_retraining(ringing: World) -> None:
    """The lock names the execution; the decision is kept with an end."""
    decision = _guard(ringing).handle(_message())
    assert decision.decision is Decision.STARTED
    [name] = ringing.executions("Retrain")
    assert decision.execution == f"arn:aws:states:us-east-1:123456789012:execution:Retrain:{name}"
    request = from_json(
        RetrainRequest, ringing.stepfunctions.describe_execution(executionArn=decision.execution)["input"]
    )
    assert (request.event_id, request.as_of) == ("e1", "2017-08-01T09:00:00Z")
    state, kept = _item(ringing, "STATE"), _item(ringing, "EVENT#e1")
    assert state["owner"]["S"] == decision.execution
    assert int(state["lock_until"]["N"]) == int(NOW.timestamp()) + 21600
    assert kept["decision"]["S"] == "STARTED"
    assert int(kept["expires"]["N"]) == int((NOW + timedelta(days=30)).timestamp())


def test_a_second_delivery_is_a_duplicate(ringing: World) -> None:
    """It changes nothing and keeps the first decision."""
    guard = _guard(ringing)
    guard.handle(_message())
    assert guard.handle(_message()).decision is Decision.DUPLICATE
    assert _item(ringing, "EVENT#e1")["decision"]["S"] == "STARTED"
    assert len(ringing.executions("Retrain")) == 1


@pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA", None])
def test_an_alarm_that_no_longer_rings_starts_nothing(world: World, state: str | None) -> None:
    """The event may be forged or old; the alarm is read again."""
    if state is not None:
        world.alarm("demand-drift", state)
    decision = _guard(world).handle(_message())
    assert (decision.decision, decision.reason) == (Decision.NOT_CONFIRMED, f"alarm demand-drift is {state} now")
    assert world.executions("Retrain") == []


def test_an_invalid_message_uses_up_no_event_id(ringing: World) -> None:
    """A forged event with a real one's id does not make the real one a duplicate."""
    guard = _guard(ringing)
    assert guard.handle(_message(account="210987654321")).decision is Decision.INVALID
    assert guard.handle(_message()).decision is Decision.STARTED
    assert _item(ringing, "EVENT#message:m-e1")["decision"]["S"] == "INVALID"


def test_busy_then_cooling_down_then_free(ringing: World) -> None:
    """The lock holds while the machine runs, the cool-down after it, and then another may start."""
    guard = _guard(ringing)
    owner = guard.handle(_message()).execution
    assert owner is not None
    assert guard.handle(_message("e2", NOW + timedelta(hours=1))).decision is Decision.BUSY
    release(ringing, owner)
    assert guard.handle(_message("e3", NOW + timedelta(hours=2))).decision is Decision.COOLING_DOWN
    assert guard.handle(_message("e4", NOW + timedelta(hours=24))).decision is Decision.STARTED


def test_a_lock_that_was_never_released_is_taken_over(ringing: World) -> None:
    """An aborted machine does not block for ever."""
    guard = _guard(ringing)
    guard.handle(_message())
    decision = guard.handle(_message("e2", NOW + timedelta(hours=24)))
    assert decision.decision is Decision.STARTED
    assert _item(ringing, "STATE")["owner"]["S"] == decision.execution


def test_a_person_does_not_wait_but_has_a_budget(ringing: World) -> None:
    """Two a day, also by hand."""
    guard, decisions = _guard(ringing), []
    for number in range(3):
        decision = guard.handle(_message(f"p{number}", NOW + timedelta(minutes=number), manual=True))
        decisions.append(decision.decision)
        if decision.execution is not None:
            release(ringing, decision.execution)
    assert decisions == [Decision.STARTED, Decision.STARTED, Decision.OVER_BUDGET]


class _CrashError(Exception):
    pass


class _Dying:
    """A client that dies before one of its calls is made, or after it was made."""

    def __init__(self, client: Any, operation: str, *, after: bool) -> None:
        self._client, self._operation, self._after = client, operation, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name != self._operation:
            return real

        def die(**arguments: Any) -> None:
            if self._after:
                real(**arguments)
            raise _CrashError(name)

        return die


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("client", "operation"),
    [("dynamodb", "update_item"), ("stepfunctions", "start_execution"), ("dynamodb", "put_item")],
)
def test_a_crash_at_any_side_effect_is_made_good_by_the_next_delivery(
    ringing: World, client: str, operation: str, after: bool
) -> None:
    """One execution, one use of the budget, one decision, wherever the first attempt died."""
    dying = _Dying(getattr(ringing, client), operation, after=after)
    with pytest.raises(_CrashError):
        _guard(ringing, **{client: dying}).handle(_message())
    decision = _guard(ringing).handle(_message())
    done = operation == "put_item" and after
    assert decision.decision is (Decision.DUPLICATE if done else Decision.STARTED)
    assert len(ringing.executions("Retrain")) == 1
    assert _item(ringing, "STATE")["day_count"]["N"] == "1"
    assert _item(ringing, "EVENT#e1")["decision"]["S"] == "STARTED"


def test_a_crash_before_the_decision_is_kept_survives_a_quick_machine(ringing: World) -> None:
    """The machine has ended and released the lock before the message comes again: it is not told to cool down."""
    dying = _Dying(ringing.dynamodb, "put_item", after=False)
    with pytest.raises(_CrashError):
        _guard(ringing, dynamodb=dying).handle(_message())
    release(ringing, _item(ringing, "STATE")["owner"]["S"])
    assert _guard(ringing).handle(_message()).decision is Decision.STARTED
    assert len(ringing.executions("Retrain")) == 1


def test_a_storm_of_events_starts_one_retraining(ringing: World) -> None:
    """150 alarms, each delivered twice, from three threads."""
    guard, decisions = _guard(ringing), list[Decision]()

    def deliver(part: int) -> None:
        for number in range(part, 300, 3):
            decisions.append(guard.handle(_message(f"e{number // 2}")).decision)

    threads = [threading.Thread(target=deliver, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ringing.executions("Retrain")) == 1
    assert 1 <= decisions.count(Decision.STARTED) <= 2  # the two deliveries of the one event may meet
    assert set(decisions) <= {Decision.STARTED, Decision.BUSY, Decision.DUPLICATE}
    assert len(decisions) == 300
