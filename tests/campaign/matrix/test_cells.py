"""The cells are derived from the machine: every task with every kind, and every call before and after which it may die."""

from typing import Any

import pytest
from tests.campaign.functions import world_maker
from tests.campaign.machine import KINDS, Run
from tests.campaign.matrix.cells import ADDED, RAISES, THEN, crash_cells, fault_cells, reached
from tests.campaign.scenarios import TASKS


@pytest.fixture(scope="module")
def runs(current: Any, handlers: Any) -> dict[str, Run]:
    """What each scenario does without a fault."""
    return reached(world_maker(current, handlers))


def test_every_task_meets_every_kind(runs: dict[str, Run]) -> None:
    """Only a function raises."""
    found = fault_cells(runs)
    assert len({cell.key for cell in found}) == len(found)
    for kind in (*KINDS, *ADDED):
        met = {cell.state for cell in found if cell.kind == kind}
        assert met == {cell.state for cell in found if cell.label.startswith("lambda:")} if kind == RAISES else TASKS


def test_every_call_is_one_before_and_after_which_the_execution_dies(runs: dict[str, Run]) -> None:
    """Twice for each of what may come then."""
    found = crash_cells(runs)
    assert len({cell.key for cell in found}) == len(found)
    assert len(found) == 2 * len(THEN) * sum(len(done.labels) for done in runs.values())


def test_the_order_is_seeded_and_mixed(runs: dict[str, Run]) -> None:
    """What is done when time runs out is the same sample every time, of many tasks and all kinds."""
    first = fault_cells(runs)[:300]
    assert first == fault_cells(runs)[:300]
    assert {cell.kind for cell in first} == {*KINDS, *ADDED}
    assert len({cell.state for cell in first}) > len(TASKS) / 2
