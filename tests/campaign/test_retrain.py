"""The Retrain machine under every fault of every call: the serving model stays, the lock is released, at most one record."""

import copy
import random
from itertools import product
from typing import Any

import pytest
from tests.campaign.functions import retrain_maker
from tests.campaign.machine import KINDS, RAISES, Fault, Run
from tests.campaign.matrix.machines import MACHINES
from tests.campaign.retrain import OUTCOMES, SCENARIOS, TASKS, machine_of

from mlops_constructs._state_machine import tasks

# like `test_deploy.py`
_FAULTS, _CRASHES = 40, 10
_MACHINE = MACHINES["retrain"]
RUNS = 200
SEED = 20261124


@pytest.fixture(scope="module")
def ended(current: Any, handlers: Any) -> dict[str, tuple[Run, list[str]]]:
    """Each scenario without a fault, and its violations."""
    make, found = retrain_maker(current, handlers), dict[str, tuple[Run, list[str]]]()
    for name, changes in SCENARIOS.items():
        world = make(**changes)
        result = world.run()
        found[name] = result, world.broken(result)
    return found


@pytest.fixture(scope="module")
def runs(ended: dict[str, tuple[Run, list[str]]]) -> dict[str, Run]:
    """Each scenario without a fault."""
    return {name: result for name, (result, _) in ended.items()}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ends_well_without_a_fault(ended: dict[str, tuple[Run, list[str]]], scenario: str) -> None:
    """Each course of a retraining ends well."""
    result, problems = ended[scenario]
    assert (result.outcome, problems) == (OUTCOMES.get(scenario, "APPROVED"), [])


def test_every_task_of_the_machine_runs_in_a_scenario_and_meets_every_kind(runs: dict[str, Run]) -> None:
    """A new state must be reached by a scenario, so that it meets faults and crashes."""
    assert {state for done in runs.values() for state in done.states} == TASKS
    kinds = {*KINDS, *_MACHINE.added} - {RAISES}  # only a function raises
    assert {(cell.state, cell.kind) for cell in _MACHINE.faults(runs)} >= {*product(TASKS, kinds)}


def test_no_fault_of_any_call_leaves_a_lock_or_a_package_too_many(retrain: Any, runs: dict[str, Run]) -> None:
    """Each call fails once or permanently, before or after its work."""
    found = {cell.key: _MACHINE.runner.run(retrain, cell).problems for cell in _MACHINE.faults(runs)[:_FAULTS]}
    assert {key: problems for key, problems in found.items() if problems} == {}


def test_a_crash_between_any_two_calls_is_mended_by_the_next_retraining(retrain: Any, runs: dict[str, Run]) -> None:
    """The execution dies before or after a call; the guard releases its lock."""
    found = {cell.key: _MACHINE.runner.run(retrain, cell).problems for cell in _MACHINE.crashes(runs)[:_CRASHES]}
    assert {key: problems for key, problems in found.items() if problems} == {}


@pytest.mark.campaign
def test_a_third_of_failing_calls_stops_hardly_any_retraining(retrain: Any) -> None:
    """Calls fail with a probability of 0.3 with transient errors; at least 99 of 100 retrainings still end with a verdict."""
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
    """Without that Catch, some fault leaves the lock held."""
    machine: dict[str, Any] = copy.deepcopy(dict(machine_of(is_automatic=True)))
    del machine["States"][name]["Catch"]
    for scenario in SCENARIOS.values():
        done = retrain(**scenario).run(machine=machine)
        for label in {label for label, state in zip(done.labels, done.states, strict=True) if state == name}:
            world = retrain(**scenario)
            result = world.run(Fault(label, "access denied", always=True, state=name), machine=machine)
            # the release of the lock has the label of other writes to the row, which are no excuse
            excused = frozenset({label}) if name in {"Release", "RecordFailure"} else frozenset()
            if world.broken(result, excused=excused):
                return
    pytest.fail("nothing broke")
