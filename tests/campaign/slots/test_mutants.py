"""The machine between slots where a third of all calls fail, and with mutations of its definition."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from tests.campaign.machine import Fault
from tests.campaign.slots.scenarios import OUTCOMES, SCENARIOS
from tests.campaign.slots.world import ASKED, MACHINE

from mlops_constructs._state_machine import tasks
from mlops_constructs.rollout.rollout_policy import ROLLED_BACK

RUNS = 100
SEED = 20261124
# the campaign of SageMaker's machine covers shared states
OWN = (
    "Slot",
    "Targets",
    "Weights",
    "Shift",
    "PutBack",
    "TakeBack",
    "LookBefore",
    "LookAtAlarms",
    "LastVerdict",
    "PutAlarms",
)


@pytest.mark.campaign
def test_a_third_of_failing_calls_stops_hardly_any_rollout(slots: Any) -> None:
    """Calls fail with a probability of 0.3 with transient errors; at least 98 of 100 still promote, all end well."""
    chance = random.Random(SEED)
    broken: list[str] = []
    promoted = 0
    for number in range(RUNS):
        world = slots()
        result = world.run(chance=chance)
        broken += [f"run {number}: {problem}" for problem in world.broken(result)]
        promoted += result.outcome == "PROMOTED"
    assert broken == []
    assert promoted >= RUNS * 0.98


def _changed(state: str, **changes: Any) -> dict[str, Any]:
    changed: dict[str, Any] = copy.deepcopy(dict(MACHINE))
    changed["States"][state] |= changes
    assert changed != MACHINE
    return changed


def _mutants() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "an alarm that leaves the weights as they are", _changed("AlarmFires", Next=ROLLED_BACK)
    yield "traffic before a pod is ready", _changed("ApplySlot", Next="AssertWeights")
    yield "a slot that never rests", _changed("IsSlotLeft", Default="Unlock", Choices=[])
    yield "a slot that rests before it is recorded that it may", _changed("Record", Next="Unlock")
    yield "no evidence asked for", _changed("NeedsEvidence", Choices=[])
    yield "nothing taken back", _changed("TakeBack", Type="Pass")
    yield "steps without alarms", _changed("IsWatched", Choices=[])
    for name, _ in tasks(MACHINE):
        if any(part in name for part in OWN) and name in MACHINE["States"]:
            changed: dict[str, Any] = copy.deepcopy(dict(MACHINE))
            del changed["States"][name]["Catch"]
            yield f"{name} without Catch", changed


MUTANTS = dict(_mutants())
ALWAYS = ("an alarm that leaves the weights as they are",)
SOME = [*ALWAYS, *(pytest.param(name, marks=pytest.mark.campaign) for name in MUTANTS if name not in ALWAYS)]


@pytest.mark.parametrize("mutant", SOME)
def test_whatever_is_taken_away_is_missed(slots: Any, mutant: str) -> None:
    """A machine without one Catch, or without one of the rules, violates the invariant or has another outcome under a fault."""
    machine = MUTANTS[mutant]
    start = "elasticloadbalancingv2:modifyRule 100/0"
    for faults, excused in (((), frozenset[str]()), ((Fault(start, "5xx", always=True),), frozenset({start}))):
        world = slots()
        world.run(Fault("elasticloadbalancingv2:modifyRule 90/10", "crash", after=True), machine=machine)
        world.account.now += 86_400
        if world.broken(world.run(*faults, machine=machine, reason="spec"), excused=excused):
            return
    unrecorded = Fault(ASKED["record"], "access denied", always=True)
    world = slots()
    result = world.run(unrecorded, Fault(start, "5xx", always=True, occurrence=2), machine=machine)
    if world.broken(result, excused=frozenset({unrecorded.label, start})):
        return
    mine = {name: changes for name, changes in SCENARIOS.items() if not changes.keys() & {"spec", "meets", "asks"}}
    for name, changes in mine.items():
        world = slots(**changes)
        result = world.run(machine=machine)
        if world.broken(result) or result.outcome != OUTCOMES.get(name, "PROMOTED"):
            return
    for changes in mine.values():
        labels = slots(**changes).run(machine=machine).labels
        for label in dict.fromkeys(labels):
            # two states may make the same call: it fails from the first time on, or only later
            for occurrence in sorted({1, 2, labels.count(label)}):
                world = slots(**changes)
                result = world.run(Fault(label, "5xx", always=True, occurrence=occurrence), machine=machine)
                if result.faults_met and world.broken(result, excused=frozenset({label})):
                    return
    pytest.fail("nothing broke")
