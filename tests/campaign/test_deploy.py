"""The Deploy machine under every fault of every call: the right model serves, one record names it, nothing is left over."""

from itertools import product
from typing import Any

import pytest
from tests.campaign.functions import world_maker
from tests.campaign.machine import KINDS, RAISES, Run
from tests.campaign.matrix.cells import ADDED
from tests.campaign.matrix.machines import MACHINES
from tests.campaign.matrix.rollout_cells import THEN
from tests.campaign.scenarios import SCENARIOS, TASKS

# the default suite has some calls of each kind; the campaign has all of them (`tests/campaign/matrix/run.py`)
_OF_EACH_KIND, _CRASHES = 8, 10
_MACHINE = MACHINES["deploy"]


@pytest.fixture(scope="module")
def ended(current: Any, handlers: Any) -> dict[str, tuple[Run, list[str]]]:
    """Each scenario without a fault, and its violations."""
    make, found = world_maker(current, handlers), dict[str, tuple[Run, list[str]]]()
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
    assert ended[scenario][1] == []


def test_every_task_of_the_machine_runs_in_a_scenario_and_meets_every_kind(runs: dict[str, Run]) -> None:
    """A new state must be reached by a scenario, so that it meets faults and crashes."""
    assert {state for done in runs.values() for state in done.states} == TASKS
    kinds = {*KINDS, *_MACHINE.added} - {RAISES}  # only a function raises
    assert {(cell.state, cell.kind) for cell in _MACHINE.faults(runs)} >= {*product(TASKS, kinds)}


@pytest.mark.parametrize("kind", (*KINDS, *ADDED))
def test_no_fault_of_any_call_leaves_a_bad_model_or_a_mess(deploy: Any, runs: dict[str, Run], kind: str) -> None:
    """Calls fail once or permanently, before or after their work; a person deletes alarms and schedules."""
    some = [cell for cell in _MACHINE.faults(runs) if cell.kind == kind][:_OF_EACH_KIND]
    found = {cell.key: _MACHINE.runner.run(deploy, cell).problems for cell in some}
    assert {key: problems for key, problems in found.items() if problems} == {}


@pytest.mark.parametrize("then", THEN)
def test_a_crash_between_any_two_calls_is_mended_by_what_comes_then(
    deploy: Any, runs: dict[str, Run], then: str
) -> None:
    """The execution dies before or after a call; its recovery comes, or hours later an approval or a rollback."""
    some = [cell for cell in _MACHINE.crashes(runs) if cell.then == then][:_CRASHES]
    found = {cell.key: _MACHINE.runner.run(deploy, cell).problems for cell in some}
    assert {key: problems for key, problems in found.items() if problems} == {}
