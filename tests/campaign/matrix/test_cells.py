"""The cells are derived from a machine: every task with every kind, and every call before and after which it may die."""

from collections.abc import Iterator

import pytest
from tests.campaign.machine import KINDS, Run
from tests.campaign.matrix.cells import ADDED, RAISES, all_cells, reached
from tests.campaign.matrix.machines import MACHINES, Machine


@pytest.fixture(scope="module", params=MACHINES)
def derived(request: pytest.FixtureRequest) -> Iterator[tuple[Machine, dict[str, Run]]]:
    """A machine, and what each of its scenarios does without a fault."""
    machine = MACHINES[request.param]
    with machine.world() as make:
        yield machine, reached(make, machine.scenarios)


def test_every_task_runs_in_a_scenario(derived: tuple[Machine, dict[str, Run]]) -> None:
    """So that a state that is added later meets faults and crashes too: it fails here until a scenario gets there."""
    machine, runs = derived
    assert {state for done in runs.values() for state in done.states} == machine.tasks


def test_every_task_meets_every_kind(derived: tuple[Machine, dict[str, Run]]) -> None:
    """Only a function raises."""
    machine, runs = derived
    found = machine.faults(runs)
    assert len({cell.key for cell in found}) == len(found)
    assert {cell.kind for cell in found} == {*KINDS, *machine.added}
    for kind in (*KINDS, *machine.added):
        met = {cell.state for cell in found if cell.kind == kind}
        functions = {cell.state for cell in found if cell.label.startswith("lambda:")}
        assert met == (functions if kind == RAISES else machine.tasks)


def test_every_call_is_one_before_and_after_which_the_execution_dies(derived: tuple[Machine, dict[str, Run]]) -> None:
    """Twice for each of what may come then; where a loop repeats a call often, its first and last times."""
    machine, runs = derived
    found = machine.crashes(runs)
    assert len({cell.key for cell in found}) == len(found)
    calls = {(name, label, done.labels.count(label)) for name, done in runs.items() for label in done.labels}
    most = 10_000 if machine.first is None else machine.first + 1
    assert len(found) == 2 * len(machine.then) * sum(min(count, most) for _, _, count in calls)


def test_the_order_is_seeded_and_mixed(derived: tuple[Machine, dict[str, Run]]) -> None:
    """What is done when time runs out is the same sample every time, of many tasks and all kinds."""
    machine, runs = derived
    first = machine.faults(runs)[:300]
    assert first == machine.faults(runs)[:300]
    assert {cell.kind for cell in first} == {*KINDS, *machine.added}
    assert len({cell.state for cell in first}) > len(machine.tasks) / 2


def test_faults_and_crashes_take_turns() -> None:
    """Any beginning is a fair sample of both; the rest of the longer list comes last."""
    (one, *_), cells = ADDED, MACHINES["retrain"]
    with cells.world() as make:
        runs = reached(make, {"asks people": cells.scenarios["asks people"]})
    faults, crashes = cells.faults(runs), cells.crashes(runs)
    mixed = all_cells(faults, crashes)
    assert mixed[:4] == [faults[0], crashes[0], faults[1], crashes[1]]
    assert len(mixed) == len(faults) + len(crashes)
    assert one == RAISES
