"""The progress of a rollout, from its execution's events in Step Functions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import RolloutVerdict
from mlops_runtime.rollout.rollout_progress import Phase, RolloutProgress, RolloutReader

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Deploy:approval-3"
START = datetime(2017, 8, 10, 12, tzinfo=UTC)
VERDICT = RolloutVerdict(
    action="continue",
    calls=12,
    evidence=0.8,
    minutes=3,
    sentence="after 3 minutes: 1 of 13 answers failed against 0 of 11 of the live model",
    minutes_uri="s3://artifacts/verdicts/demand-forecast/c.json",
    minutes_sha256="0" * 64,
)
CANARY = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 600,
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        },
        "TerminationWaitInSeconds": 600,
        "MaximumExecutionTimeoutInSeconds": 3600,
    }
}
PLAN: dict[str, Any] = {
    "action": "update",
    "reason": "approved: version 3",
    "candidate_package": "demand-forecast/3",
    "config_name": "demand-forecast-2",
    "variant": "AllTraffic",
    "min_invocations": 20,
    "verdict": {"fleet": "demand-forecast-2"},
    "create_endpoint_config": {"ProductionVariants": [{"InitialInstanceCount": 2}]},
    "update_endpoint": {"DeploymentConfig": CANARY},
}
ELB = "arn:aws:elasticloadbalancing:us-east-1:123456789012"
SLOTS: dict[str, Any] = {
    **PLAN,
    "started": "2017-08-10T12:00:01Z",
    "eks": {
        "slot": "green",
        "live_slot": "blue",
        "rule": f"{ELB}:listener-rule/app/demand/1/2/3",
        "target_groups": {slot: f"{ELB}:targetgroup/{slot}/4" for slot in ("blue", "green")},
        "bake": 300,
        "steps": [{"blue": 90, "green": 10}, {"blue": 50, "green": 50}, {"blue": 0, "green": 100}],
    },
}


class Machine:
    """An execution that writes events, and the client that lists them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.listed = 0
        self.at = START
        request = json.dumps({"reason": "approval"})
        self._add("ExecutionStarted", executionStartedEventDetails={"input": request})

    def _add(self, kind: str, **details: Any) -> None:
        self.events.append({"id": len(self.events) + 1, "type": kind, "timestamp": self.at, **details})

    def enter(self, *states: str, after: int = 0) -> "Machine":
        """Enter states, each some seconds later."""
        self.at += timedelta(seconds=after)
        for state in states:
            self._add("TaskStateEntered", stateEnteredEventDetails={"name": state})
        return self

    def result(self, state: str, output: object, after: int = 0) -> "Machine":
        """Let a state succeed with an output."""
        self.enter(state, after=after)
        self._add("TaskSucceeded", taskSucceededEventDetails={"output": json.dumps(output)})
        return self

    def fails(self) -> "Machine":
        """Let the last entered state fail."""
        self._add("TaskFailed", taskFailedEventDetails={"error": "DynamoDB.ConditionalCheckFailedException"})
        return self

    def planned(self, plan: Mapping[str, Any] = PLAN) -> "Machine":
        """Add the lock and the plan."""
        return self.enter("Start", "Lock").result("Preflight", {"Payload": plan}, after=2)

    def endpoint(self, status: str, current: int, *, wanted: int = 2, after: int = 30) -> "Machine":
        """Add a poll that finds a deployment in progress."""
        self.enter("AwaitEndpoint", after=after)
        variant = {
            "VariantName": "AllTraffic",
            "CurrentInstanceCount": current,
            "DesiredInstanceCount": wanted,
            "VariantStatus": [{"Status": status, "StartTime": (self.at - timedelta(seconds=10)).isoformat()}],
        }
        pending = {
            "EndpointConfigName": "demand-forecast-2",
            "StartTime": (START + timedelta(seconds=30)).isoformat(),
            "ProductionVariants": [variant],
        }
        return self.result("DescribeEndpoint", {"EndpointStatus": "Updating", "PendingDeploymentSummary": pending})

    def get_paginator(self, operation: str) -> "Machine":
        """Return the paginator of the history."""
        assert operation == "get_execution_history"
        return self

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield pages of the newest events first."""
        assert arguments["executionArn"] == EXECUTION
        assert arguments["reverseOrder"]
        size = min(arguments["PaginationConfig"]["PageSize"], 5)
        newest = self.events[::-1]
        for start in range(0, len(newest), size):
            self.listed += 1
            yield {"events": newest[start : start + size]}

    def progress(self, now: datetime | None = None) -> RolloutProgress:
        """Return the progress for a new reader."""
        client: Any = self
        return RolloutReader(stepfunctions=client).read(EXECUTION, self.at if now is None else now)


def test_a_canary_of_ten_minutes_takes_twenty_at_least() -> None:
    """Each step bakes; reported from the plan on, before any instance starts."""
    found = Machine().planned().progress()
    assert (found.phase, found.request_reason, found.planned) == (Phase.PLANNING, "approval", "approved: version 3")
    assert (found.step, found.steps, found.bakes, found.at_least) == (0, 2, (600, 600), 1200)
    assert (found.needed, found.missing, found.at_most) == (20, 20, None)


def test_the_first_step_of_a_canary_on_sagemaker() -> None:
    """Shows instances with traffic once SageMaker reports it; the remaining time counts both steps."""
    machine = Machine().planned().endpoint("Creating", 0).endpoint("Baking", 1, after=60)
    machine.result("AskVerdict", {"Payload": to_dict(VERDICT)}, after=120)
    found = machine.progress()
    assert (found.phase, found.step, found.steps, found.percent) == (Phase.BAKING, 1, 2, 50.0)
    assert found.since == "2017-08-10T12:01:22Z"
    assert found.until == "2017-08-10T12:11:22Z"
    assert found.at_least == 600 - 130 + 600
    assert found.at_most == 3600 - (212 - 30)
    assert (found.verdict, found.missing) == (VERDICT, 8)


def test_instances_that_start_have_no_step() -> None:
    """A fleet without traffic has no step; another deployment that ends on the endpoint is ignored."""
    assert Machine().planned().endpoint("Creating", 0).progress().phase is Phase.STARTING
    other = replace(Machine().planned({**PLAN, "config_name": "x"}).endpoint("Baking", 2).progress(), since="")
    assert (other.phase, other.step, other.at_least) == (Phase.STARTING, 0, 1200)


@pytest.mark.parametrize(
    ("policy", "wanted", "current", "step", "steps"),
    [
        ({"Type": "LINEAR", "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 30}}, 5, 3, 3, 5),
        ({"Type": "LINEAR", "LinearStepSize": {"Type": "INSTANCE_COUNT", "Value": 2}}, 5, 5, 3, 3),
        ({"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50}}, 5, 5, 2, 2),
        ({"Type": "ALL_AT_ONCE"}, 5, 5, 1, 1),
    ],
)
def test_steps_are_whole_instances(policy: Mapping[str, Any], wanted: int, current: int, step: int, steps: int) -> None:
    """Of the fleet's current autoscaled size."""
    blue_green = {
        **CANARY["BlueGreenUpdatePolicy"],
        "TrafficRoutingConfiguration": {**policy, "WaitIntervalInSeconds": 60},
    }
    plan = {**PLAN, "update_endpoint": {"DeploymentConfig": {"BlueGreenUpdatePolicy": blue_green}}}
    found = Machine().planned(plan).endpoint("Baking", current, wanted=wanted).progress()
    assert (found.step, found.steps, found.percent) == (step, steps, round(100 * current / wanted, 1))


def test_a_rolling_update_bakes_each_batch() -> None:
    """There is no wait before the old fleet ends, because it is gone by then."""
    rolling = {"MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50}, "WaitIntervalInSeconds": 60}
    plan = {**PLAN, "update_endpoint": {"DeploymentConfig": {"RollingUpdatePolicy": rolling}}}
    found = Machine().planned(plan).endpoint("Baking", 2, wanted=4).progress()
    assert (found.step, found.bakes, found.at_most) == (1, (60, 60), None)


def test_steps_between_slots_are_shares_of_requests() -> None:
    """Each shift of weights starts a step; the bake starts when the weights are written."""
    machine = Machine().planned(SLOTS).enter("PutAlarms", "ApplySlot", "AwaitSlot")
    assert (machine.progress().phase, machine.progress().at_least) == (Phase.STARTING, 900)
    machine.result("Shift", {}, after=60).enter("Bake").result("Shift", {}, after=300).enter(
        "LookAtAlarms", "Bake", after=100
    )
    found = machine.progress()
    assert (found.phase, found.step, found.steps, found.percent) == (Phase.BAKING, 2, 3, 50.0)
    assert found.since == "2017-08-10T12:06:02Z"
    assert found.at_least == 200 + 300
    assert (found.is_between_slots, found.started) == (True, "2017-08-10T12:00:01Z")
    assert {fleet: dict(time.dimensions) for fleet, time in found.slot_times.items()} == {
        "new": {"LoadBalancer": "app/demand/1", "TargetGroup": "targetgroup/green/4"},
        "old": {"LoadBalancer": "app/demand/1", "TargetGroup": "targetgroup/blue/4"},
    }


def test_a_first_model_on_slots_replaces_none() -> None:
    """The other slot has no responses for comparison."""
    first = {**SLOTS, "eks": {**SLOTS["eks"], "live_slot": None}}
    assert list(Machine().planned(first).progress().slot_times) == ["new"]


def test_a_slot_that_answers_golden_requests_rehearses_until_it_is_looked_at_again() -> None:
    """On SageMaker the rehearsal is over when its endpoint is removed."""
    machine = Machine().planned(SLOTS).enter("PutAlarms", "ApplySlot", "AwaitSlot", "HasRehearsal", "CheckGolden")
    assert machine.progress().phase is Phase.REHEARSING
    assert machine.enter("Rehearsed", "ConfirmSlot").progress().phase is Phase.STARTING


def test_a_bake_that_was_planned_or_may_be_extended_says_why() -> None:
    """On SageMaker it is part of the update's waits; between slots each step may continue to the longest bake."""
    verdict = {"fleet": "demand-forecast-2", "planned": "bakes 29 minutes a step: calls are few"}
    assert Machine().planned({**PLAN, "verdict": verdict}).progress().bake_reason == verdict["planned"]
    slots = {**SLOTS, "eks": {**SLOTS["eks"], "max_bake": 900}}
    machine = Machine().planned(slots).result("Shift", {}, after=60).enter("Bake", after=100)
    found = machine.progress()
    assert (found.at_least, found.at_most, found.bake_reason) == (200 + 600, 3 * 900 - 100, "")


def test_a_busy_endpoint_is_waited_for() -> None:
    """The lock is refused, or an operation on the endpoint is in progress."""
    machine = Machine().enter("Start", "Lock")
    assert machine.progress().phase is Phase.PLANNING
    machine.fails()
    assert machine.progress().phase is Phase.WAITING
    waits = Machine().planned({**PLAN, "action": "wait"}).enter("Decide", "IsPatient", "AwaitRest")
    assert waits.progress().phase is Phase.WAITING


@pytest.mark.parametrize(
    ("states", "phase"),
    [
        (("CreateRehearsalConfig", "CreateRehearsal", "AwaitRehearsal", "DescribeRehearsal"), Phase.REHEARSING),
        (("CreateShadowConfig", "StartShadow", "BakeShadow", "CompareShadow"), Phase.SHADOWING),
        (("AwaitEndpoint", "DescribeEndpoint", "AskWhatRang", "TookBack"), Phase.ROLLING_BACK),
        (("Revert", "AwaitRevert", "DescribeReverted"), Phase.ROLLING_BACK),
        (("PutBack", "WhereTo"), Phase.ROLLING_BACK),
        (("Record", "HasPlan", "DeleteAlarms"), Phase.RECORDING),
    ],
)
def test_each_other_phase(states: Sequence[str], phase: Phase) -> None:
    """A state without its own phase belongs to the previous one; a rollback has no remaining wait."""
    found = Machine().planned().enter(*states).progress()
    assert found.phase is phase
    assert (found.at_least == 0) == (phase in (Phase.ROLLING_BACK, Phase.RECORDING))


def test_a_rollback_is_not_compared() -> None:
    """It requires no calls."""
    found = Machine().planned({**PLAN, "verdict": {}}).endpoint("Baking", 2).progress()
    assert (found.is_watched, found.missing, found.verdict) == (False, 0, None)


def test_only_new_events_are_read_again() -> None:
    """A watching reader requests only the newest page."""
    machine = Machine().planned()
    client: Any = machine
    reader = RolloutReader(stepfunctions=client)
    for _ in range(10):
        machine.endpoint("Baking", 1)
    before = reader.read(EXECUTION, machine.at)
    machine.listed = 0
    machine.endpoint("Baking", 2)
    after = reader.read(EXECUTION, machine.at)
    assert (before.step, after.step, machine.listed) == (1, 2, 1)


def test_what_another_version_wrote_is_passed_over() -> None:
    """Ignores verdicts of another shape and outputs that are not JSON."""
    machine = Machine().planned().endpoint("Baking", 1).result("AskVerdict", {"Payload": {"action": "later"}})
    machine.result("DescribeEndpoint", "not an object")
    found = machine.progress()
    assert (found.verdict, found.phase) == (None, Phase.STARTING)
