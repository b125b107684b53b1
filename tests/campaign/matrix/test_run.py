"""The campaign itself, which runs with ``-m campaign``; cells that are done are not done again."""

import json
from pathlib import Path

import pytest
from tests.campaign.matrix import cells, run


@pytest.mark.campaign
def test_no_cell_breaks_the_invariant(pytestconfig: pytest.Config) -> None:
    """Two hours at most."""
    folder = pytestconfig.getoption("--campaign-dir", default=None) or Path(pytestconfig.rootpath, ".mlops", "campaign")
    assert run.main(Path(folder), minutes=120.0) == 0


def test_cells_are_kept_and_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a line of the results; the page has the section."""
    monkeypatch.setattr(cells, "SCENARIOS", {"promotes": {}})
    assert run.main(tmp_path, minutes=0.02, page=tmp_path / "page.md") == 0
    first = (tmp_path / run.RESULTS).read_text().splitlines()
    assert run.main(tmp_path, minutes=0.0, page=tmp_path / "page.md") == 0
    assert (tmp_path / run.RESULTS).read_text().splitlines() == first
    assert len({json.loads(line)["key"] for line in first}) == len(first) >= 1
    assert f"{len(first)} of " in (tmp_path / "page.md").read_text()
