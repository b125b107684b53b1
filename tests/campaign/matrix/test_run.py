"""The campaign itself, run with ``-m campaign``; finished cells are not run again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.campaign.matrix import run
from tests.campaign.matrix.machines import MACHINES


@pytest.mark.campaign
@pytest.mark.parametrize("machine", MACHINES)
def test_no_cell_breaks_the_invariant(pytestconfig: pytest.Config, machine: str) -> None:
    """At most two hours per machine."""
    folder = pytestconfig.getoption("--campaign-dir", default=None) or Path(pytestconfig.rootpath, ".mlops", "campaign")
    assert run.main(machine, Path(folder), minutes=120.0) == 0


def test_cells_are_kept_and_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell is a line of the results; the page has the section."""
    monkeypatch.setitem(MACHINES, "deploy", replace(MACHINES["deploy"], scenarios={"promotes": {}}))
    results = tmp_path / run.RESULTS["deploy"]
    assert run.main("deploy", tmp_path, minutes=0.02, page=tmp_path / "page.md") == 0
    first = results.read_text().splitlines()
    assert run.main("deploy", tmp_path, minutes=0.0, page=tmp_path / "page.md") == 0
    assert results.read_text().splitlines() == first
    assert len({json.loads(line)["key"] for line in first}) == len(first) >= 1
    assert f"{len(first)} of " in (tmp_path / "page.md").read_text()
