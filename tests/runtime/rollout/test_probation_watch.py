"""The watch of a probation: checks the serving version, rolls back changed responses, and ends with the probation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.runtime.rollout.world import ENDPOINT, EXECUTION, NOW, SPEC, World

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.rollout.golden_rehearsal import GoldenCallError
from mlops_runtime.rollout.probation_alarm import probation_alarm
from mlops_runtime.rollout.probation_watch import ProbationWatch

CONFIG = "demand-forecast-00000001"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Deploy"
GOLDEN = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="0" * 64)
WITH_GOLDEN = replace(SPEC, rollout=replace(SPEC.rollout, golden=GOLDEN))
PASSED = {"passed": True, "reason": "all 1 golden requests passed in 40 rounds"}
FAILED = {"passed": False, "reason": "1 of 1 golden requests failed: two: got another answer"}


class Answering:
    """A stub of the golden requests' caller."""

    def __init__(self, answer: dict[str, Any], then: Callable[[], None] = lambda: None) -> None:
        self.answer, self.then, self.requests = answer, then, list[dict[str, Any]]()

    def handle(self, event: dict[str, Any], *, has_time: Callable[[], bool]) -> dict[str, Any]:
        """Record the request."""
        assert has_time()
        self.requests.append(event)
        self.then()
        return self.answer


class Rules:
    """A stub of EventBridge."""

    def __init__(self) -> None:
        self.disabled = list[str]()

    def disable_rule(self, *, Name: str) -> None:  # noqa: N803 - as boto3 names it
        """Record the rule."""
        self.disabled.append(Name)


def on_probation(world: World, spec: ServingSpec = WITH_GOLDEN, **changes: Any) -> None:
    """Return a world with a model on probation for another hour."""
    package = world.package()
    world.version(CONFIG, package)
    world.serve(CONFIG)
    world.store(spec)
    until = str(to_dict(NOW + timedelta(hours=1)))
    pointed = {"probation_until": until, "rehearsed": f"rehearsals/{ENDPOINT}/{CONFIG}.json", **changes}
    world.point(world.pointer(CONFIG, package, spec, **pointed))


def watch(world: World, caller: Answering, rules: Rules) -> ProbationWatch:
    """Return the watch of a world."""
    parts: dict[str, Any] = {"events": rules, "caller": caller}
    return ProbationWatch(
        table=world.table,
        s3=world.s3,
        cloudwatch=world.cloudwatch,
        stepfunctions=world.stepfunctions,
        machine_arn=MACHINE,
        bucket="artifacts",
        **parts,
    )


def look(world: World, answer: dict[str, Any], **parts: Any) -> tuple[str, Answering, Rules]:
    """Check once."""
    caller, rules = Answering(answer, **parts), Rules()
    return watch(world, caller, rules).look(NOW), caller, rules


def test_what_serves_is_asked_what_it_answered_before_it_had_traffic(world: World) -> None:
    """With the bounds of its own spec; nothing follows a pass."""
    on_probation(world)
    result, caller, rules = look(world, PASSED)
    (requested,) = caller.requests
    assert (requested["mode"], requested["endpoint"], requested["golden"]["sha256"]) == ("again", ENDPOINT, "0" * 64)
    assert requested["answers"] == f"rehearsals/{ENDPOINT}/{CONFIG}.json"
    assert result.startswith(f"{CONFIG} is on probation until ")
    assert (world.executions(), rules.disabled) == ([], [])


def test_between_slots_the_one_that_serves_is_asked(world: World) -> None:
    """By the name in its promotion's record, whatever the current weights are; an endpoint has no slots."""
    on_probation(world, slot="green")
    (requested,) = look(world, PASSED)[1].requests
    assert requested["slot"] == "green"
    on_probation(world)
    assert "slot" not in look(world, PASSED)[1].requests[0]


def test_what_answers_otherwise_is_taken_back(world: World) -> None:
    """The request names the checked version; a repeat on the same day is the same execution."""
    on_probation(world)
    result, _, rules = look(world, FAILED)
    look(world, FAILED)
    (name,) = world.executions()
    assert result.endswith(f"{name}: {FAILED['reason']}")
    started = world.stepfunctions.describe_execution(
        executionArn=f"{MACHINE.replace('stateMachine', 'execution')}:{name}"
    )
    request = json.loads(started["input"])
    assert (request["reason"], request["config"]) == ("rollback", CONFIG)
    assert request["comment"] == f"golden requests, sent again during probation: {FAILED['reason']}"
    assert rules.disabled == []


def test_while_an_execution_holds_the_endpoint_nothing_is_asked(world: World) -> None:
    """Either of two fleets may respond; the watch continues."""
    on_probation(world)
    world.lock()
    result, caller, rules = look(world, FAILED)
    assert result == f"{EXECUTION} holds the endpoint's lock: two fleets may respond"
    assert (caller.requests, rules.disabled, world.executions()) == ([], [], [])


def test_answers_count_for_nothing_where_an_execution_began_meanwhile(world: World) -> None:
    """They may come from another fleet."""
    on_probation(world)
    result, _, _ = look(world, FAILED, then=world.lock)
    assert result.startswith("an execution took the endpoint's lock in the meantime")
    assert world.executions() == []


@pytest.mark.parametrize("until", [None, str(to_dict(NOW))])
def test_without_a_probation_the_watch_ends(world: World, until: str | None) -> None:
    """Schedule and alarm are removed, so that no cost remains."""
    on_probation(world, probation_until=until)
    world.alarm(probation_alarm(ENDPOINT), "OK")
    for _ in range(2):  # a missing alarm is the desired state
        result, caller, rules = look(world, FAILED)
        assert result.startswith("no probation is active")
        assert (caller.requests, rules.disabled) == ([], [f"{ENDPOINT}-probation"])
    assert world.cloudwatch.describe_alarms()["MetricAlarms"] == []


def test_an_endpoint_that_never_served_is_not_on_probation(world: World) -> None:
    """There is no pointer."""
    assert look(world, FAILED)[2].disabled == [f"{ENDPOINT}-probation"]


def test_a_model_that_was_not_rehearsed_is_watched_by_alarms_alone(world: World) -> None:
    """It has no responses, or its policy no golden requests; the schedule continues until the probation is over."""
    on_probation(world, rehearsed=None)
    result, caller, rules = look(world, FAILED)
    assert result.startswith(f"{CONFIG} was not rehearsed with golden requests")
    on_probation(world, SPEC)
    assert look(world, FAILED)[1].requests == caller.requests == []
    assert rules.disabled == []


def test_a_version_whose_spec_a_recovery_did_not_know_is_asked_by_the_desired_one(world: World) -> None:
    """Its pointer has no spec."""
    on_probation(world, spec_uri="", spec_sha256="")
    assert len(look(world, PASSED)[1].requests) == 1


def test_an_endpoint_that_cannot_be_asked_is_an_error(world: World) -> None:
    """Lambda retries, and failures reach the dead-letter queue."""
    on_probation(world)

    def fail() -> None:
        raise GoldenCallError("endpoint 'demand-forecast' could not be called")

    with pytest.raises(GoldenCallError):
        look(world, PASSED, then=fail)
