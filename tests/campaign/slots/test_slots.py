"""The Deploy machine between two slots: each course of a rollout, every fault of every call, a crash between any two."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from tests.campaign.machine import KINDS, RAISES, Run
from tests.campaign.matrix.machines import MACHINES
from tests.campaign.slots.functions import slot_maker
from tests.campaign.slots.scenarios import OUTCOMES, SCENARIOS, TASKS

# the default suite has some cells; the campaign has all of them (`tests/campaign/matrix/run.py`)
_FAULTS, _CRASHES = 20, 6
_MACHINE = MACHINES["slots"]


@pytest.fixture(scope="module")
def ended(current: Any, slot_handlers: Any) -> dict[str, tuple[Run, list[str]]]:
    """Each scenario without a fault, and its violations."""
    make, found = slot_maker(current, slot_handlers), dict[str, tuple[Run, list[str]]]()
    for name, changes in SCENARIOS.items():
        world = make(**changes)
        result = world.run()
        found[name] = result, [*world.broken(result, excused=world.excused), *world.ended()]
    return found


@pytest.fixture(scope="module")
def runs(ended: dict[str, tuple[Run, list[str]]]) -> dict[str, Run]:
    """Each scenario without a fault."""
    return {name: result for name, (result, _) in ended.items()}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ends_well_without_a_fault(ended: dict[str, tuple[Run, list[str]]], scenario: str) -> None:
    """Each course of a rollout ends well, until every probation is over."""
    result, problems = ended[scenario]
    assert (result.outcome, problems) == (OUTCOMES.get(scenario, "PROMOTED"), [])


def test_every_task_of_the_machine_runs_in_a_scenario_and_meets_every_kind(runs: dict[str, Run]) -> None:
    """A new state must be reached by a scenario, so that it meets faults and crashes."""
    assert {state for done in runs.values() for state in done.states} == TASKS
    kinds = {*KINDS, *_MACHINE.added} - {RAISES}  # only a function raises
    assert {(cell.state, cell.kind) for cell in _MACHINE.faults(runs)} >= {*product(TASKS, kinds)}


def test_no_fault_of_any_call_leaves_a_mess(slots: Callable[..., Any], runs: dict[str, Run]) -> None:
    """Calls fail once or permanently, before or after their work; a person deletes alarms and schedules."""
    found = {cell.key: _MACHINE.runner.run(slots, cell).problems for cell in _MACHINE.faults(runs)[:_FAULTS]}
    assert {key: problems for key, problems in found.items() if problems} == {}


def test_a_crash_between_any_two_calls_is_mended(slots: Callable[..., Any], runs: dict[str, Run]) -> None:
    """The execution dies before or after a call; its recovery comes, or hours later an approval or a rollback."""
    found = {cell.key: _MACHINE.runner.run(slots, cell).problems for cell in _MACHINE.crashes(runs)[:_CRASHES]}
    assert {key: problems for key, problems in found.items() if problems} == {}
