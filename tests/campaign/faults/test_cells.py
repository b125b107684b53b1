"""The cells of the fault campaigns, and their page; the campaign itself runs with ``-m campaign``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.campaign.deploy import MACHINE
from tests.campaign.faults import report, run
from tests.campaign.faults.cells import KINDS, RETRAIN_CALLS, cells, retrain_cells
from tests.campaign.faults.promotion import PromotionFaults
from tests.campaign.machine import tasks_of

from mlops_constructs._state_machine import tasks
from mlops_local import cloud as local_cloud

RESULT: dict[str, Any] = {
    "key": "sagemaker:createModel  5xx 2x",
    "kind": "5xx",
    "met": 2,
    "outcome": "PROMOTED",
    "problems": [],
    "seconds": 6.5,
    "at": "2026-11-24T21:00:00+00:00",
}


def test_every_call_meets_every_kind() -> None:
    """One machine has sixteen cells per task, the other at least sixty cells, each with a unique key."""
    calls = {
        name: str(state["Resource"]).partition(":::")[2].removeprefix("aws-sdk:") for name, state in tasks(MACHINE)
    }
    found, others = cells(calls), retrain_cells()
    assert len(found) == 16 * len(calls)
    assert len(others) >= 60
    for some in (found, others):
        assert len({cell.key for cell in some}) == len(some)
        assert all(cell.fault()["count"] == cell.count for cell in some)
    assert {(c.state, c.kind) for c in found} == {(name, kind) for name in tasks_of(MACHINE) for kind in KINDS}
    assert {(c.integration, c.match, c.mode, c.kind) for c in others} == {(*c, k) for c in RETRAIN_CALLS for k in KINDS}


def test_the_order_of_the_retrain_cells_is_seeded() -> None:
    """The cells that run before the time is up are the same sample every time, of many calls and all kinds."""
    first = [cell.key for cell in retrain_cells()]
    assert first == [cell.key for cell in retrain_cells()]
    assert {cell.kind for cell in retrain_cells()[:60]} == set(KINDS)


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PromotionFaults]:
    """A source and a target, deployed."""
    folder = tmp_path_factory.mktemp("accounts")
    cloud = local_cloud.up(folder / "cloud", clock_scale=run.CLOCK_SCALE, account_count=3)
    try:
        yield PromotionFaults(cloud, folder)
    finally:
        cloud.down(forget=True)


def test_every_call_of_both_sides_of_a_promotion_meets_every_kind(accounts: PromotionFaults) -> None:
    """Both machines have sixteen cells per deployed task, each with a unique key."""
    tasks = {(name, state) for name, side in accounts.sides.items() for state in side.tasks()}
    found = accounts.cells()

    assert len({cell.key for cell in found}) == len(found) == 16 * len(tasks)
    assert {(cell.mode, cell.state, cell.kind) for cell in found} == {(*each, kind) for each in tasks for kind in KINDS}
    assert accounts.WAYS.keys() <= tasks


@pytest.mark.parametrize("place", range(5))
def test_the_first_cells_of_a_promotion_leave_a_whole_release_or_none(accounts: PromotionFaults, place: int) -> None:
    """A seeded sample of the campaign: in the end the schedules bring one approved package."""
    result = accounts.run(accounts.cells()[place])

    assert result["met"] > 0
    assert result["problems"] == []


@pytest.mark.parametrize("machine", report.SECTIONS)
def test_the_section_says_what_was_done_and_what_broke(machine: str) -> None:
    """The section has kinds, outcomes, and each cell with a problem."""
    results = [RESULT, RESULT | {"key": "other", "problems": ["left: x"]}]
    text = report.section(machine, results, total=240, load=1.0)
    assert text.startswith(f"<!-- {report.SECTIONS[machine].name}: begin -->\n## {report.SECTIONS[machine].title}\n")
    assert "| 5xx | 2 | 2 | 2 PROMOTED | 1 |" in text
    assert "- `other`: left: x" in text
    assert "2 of 240 cells" in text


@pytest.mark.campaign
@pytest.mark.parametrize("machine", run.CAMPAIGNS)
def test_no_cell_breaks_the_invariant(pytestconfig: pytest.Config, machine: str) -> None:
    """No cell has a problem; a second run resumes."""
    folder = pytestconfig.getoption("--campaign-dir", default=None) or Path(pytestconfig.rootpath, ".mlops", "campaign")
    assert run.main(machine, Path(folder), minutes=120.0) == 0
