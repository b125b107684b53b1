"""The Retrain machine under every fault of every call: what serves is not touched, the lock is released, one record at most."""

import copy
import random
from typing import Any

import pytest
from tests.campaign.machine import KINDS, LOST, Fault
from tests.campaign.retrain import machine_of

from mlops_constructs._state_machine import tasks

SCENARIOS: dict[str, dict[str, Any]] = {
    "is approved by policy": {},
    "waits for a person": {"is_automatic": False},
    "is left pending in a pause": {"may_approve": False},
    "is rejected": {"verdict": "FAILED"},
    "has no champion": {"serves": False},
    "was made elsewhere": {"is_brought": True},
    "asks people": {"is_question": True},
    "has a champion of another image": {"has_image": True},
}
# as in `test_deploy.py`
FIRST, *_ = SCENARIOS
SOME = [
    pytest.param(FIRST, len(KINDS), id=f"{FIRST}-a seventh"),
    *(pytest.param(name, 1, id=name, marks=pytest.mark.campaign) for name in SCENARIOS),
]
RUNS = 200
SEED = 20261124


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ends_well_without_a_fault(retrain: Any, scenario: str) -> None:
    """Each way that a retraining may go."""
    world = retrain(**SCENARIOS[scenario])
    result = world.run()
    outcomes = {
        "waits for a person": "REGISTERED",
        "is left pending in a pause": "REGISTERED",
        "is rejected": "REJECTED",
        "asks people": "ASKED",
    }
    assert world.broken(result) == []
    assert result.outcome == outcomes.get(scenario, "APPROVED")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scenario", "share"), SOME)
def test_no_fault_of_any_call_leaves_a_lock_or_a_package_too_many(
    retrain: Any, scenario: str, share: int, kind: str
) -> None:
    """Each call fails once or for good, before or after its work is done."""
    changes, broken = SCENARIOS[scenario], []
    labels = list(dict.fromkeys(retrain(**changes).run().labels))
    for label in labels[KINDS.index(kind) % share :: share]:
        # for good, all errors are alike to the machine: two kinds say so
        for always in (False, True) if kind in ("5xx", "access denied") else (False,):
            for after in (False, True) if kind in LOST else (False,):
                fault = Fault(label, kind, always=always, after=after)
                world = retrain(**changes)
                result = world.run(fault)
                assert result.faults_met > 0
                excused = frozenset({label}) if always and kind != "latency" else frozenset[str]()
                broken += [f"{fault}: {problem}" for problem in world.broken(result, excused=excused)]
    assert broken == []


@pytest.mark.campaign
def test_a_third_of_failing_calls_stops_hardly_any_retraining(retrain: Any) -> None:
    """Each call fails with a probability of 0.3 in a way that passes; at least 99 of 100 retrainings still end with a verdict."""
    chance = random.Random(SEED)
    broken: list[str] = []
    approved = 0
    for number in range(RUNS):
        world = retrain()
        result = world.run(chance=chance)
        broken += [f"run {number}: {problem}" for problem in world.broken(result)]
        approved += result.outcome == "APPROVED"
    assert broken == []
    assert approved >= RUNS * 0.99


@pytest.mark.campaign
@pytest.mark.parametrize("name", [name for name, _ in tasks(machine_of(is_automatic=True))])
def test_a_catch_that_is_taken_away_is_missed(retrain: Any, name: str) -> None:
    """Without it, some fault leaves the lock held."""
    machine: dict[str, Any] = copy.deepcopy(dict(machine_of(is_automatic=True)))
    del machine["States"][name]["Catch"]
    for scenario in SCENARIOS.values():
        for label in dict.fromkeys(retrain(**scenario).run(machine=machine).labels):
            world = retrain(**scenario)
            result = world.run(Fault(label, "access denied", always=True), machine=machine)
            if world.broken(result, excused=frozenset({label})):
                return
    pytest.fail("nothing broke")
