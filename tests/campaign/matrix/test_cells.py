"""Cells are derived from a machine: every task with every kind, and a crash before and after every call.

``test_deploy.py``, ``test_slots.py`` and ``test_retrain.py`` check that scenarios reach every task.
"""

from collections.abc import Iterator

import pytest
from tests.campaign.machine import KINDS, RAISES, Run
from tests.campaign.matrix.cells import all_cells, crash_cells, reached
from tests.campaign.matrix.machines import MACHINES, Machine


@pytest.fixture(scope="module")
def derived() -> Iterator[tuple[Machine, dict[str, Run]]]:
    """The fastest machine, and its scenarios without a fault."""
    machine = MACHINES["retrain"]
    with machine.world() as make:
        yield machine, reached(make, machine.scenarios)


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
    """Each call crashes twice for each following execution; a loop's first calls and its last suffice."""
    machine, runs = derived
    found = machine.crashes(runs)
    assert len({cell.key for cell in found}) == len(found)
    assert len(found) == 2 * len(machine.then) * sum(len(done.labels) for done in runs.values())
    often = {"polls": Run(labels=["a", "b", "b", "b", "b"], states=["A", "B", "B", "B", "B"])}
    some = crash_cells(often, ("recovery",), first=2)
    assert sorted({(cell.label, cell.occurrence) for cell in some}) == [("a", 1), ("b", 1), ("b", 2), ("b", 4)]


def test_the_order_is_seeded_and_mixed(derived: tuple[Machine, dict[str, Run]]) -> None:
    """The cells that run before the time is up are the same sample every time, of many tasks and all kinds."""
    machine, runs = derived
    first = machine.faults(runs)[:300]
    assert first == machine.faults(runs)[:300]
    assert {cell.kind for cell in first} == {*KINDS, *machine.added}
    assert len({cell.state for cell in first}) > len(machine.tasks) / 2


def test_faults_and_crashes_take_turns(derived: tuple[Machine, dict[str, Run]]) -> None:
    """Any prefix is a fair sample of both; the rest of the longer list comes last."""
    machine, runs = derived
    faults, crashes = machine.faults(runs), machine.crashes(runs)
    mixed = all_cells(faults, crashes)
    assert mixed[:4] == [faults[0], crashes[0], faults[1], crashes[1]]
    assert len(mixed) == len(faults) + len(crashes)
