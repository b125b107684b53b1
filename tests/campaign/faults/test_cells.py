"""The cells of the fault campaign, and its page; the campaign itself runs with ``-m campaign``."""

from pathlib import Path
from typing import Any

import pytest
from tests.campaign.faults import report, run
from tests.campaign.faults.cells import CALLS, KINDS, cells

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
    """At least two hundred cells, each known by a key of its own."""
    found = cells()
    assert len(found) >= 200
    assert len({cell.key for cell in found}) == len(found)
    assert {(c.integration, c.match, c.kind) for c in found} == {(*call, kind) for call in CALLS for kind in KINDS}
    assert all(cell.fault()["count"] == cell.count for cell in found)


def test_the_section_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    """Two campaigns write into one page."""
    page = tmp_path / "campaign.md"
    page.write_text("# Campaigns\n\n<!-- candidates: begin -->\nc\n<!-- candidates: end -->\n")
    for problems in ([], ["left: x"]):
        results = [RESULT, RESULT | {"key": "other", "problems": problems}]
        report.write(page, report.section(results, total=240, load=1.0))

    text = page.read_text()
    assert text.count(report.BEGIN) == text.count("## Faults of the Deploy machine") == 1
    assert text.startswith("# Campaigns\n\n<!-- candidates: begin -->\nc\n<!-- candidates: end -->\n")
    assert "| 5xx | 2 | 2 | 2 PROMOTED | 1 |" in text
    assert "- `other`: left: x" in text
    assert "2 of 240 cells" in text


@pytest.mark.campaign
def test_no_cell_breaks_the_invariant(pytestconfig: pytest.Config) -> None:
    """Resumable: cells that are done are not done again."""
    folder = pytestconfig.getoption("--campaign-dir", default=None) or Path(pytestconfig.rootpath, ".mlops", "campaign")
    assert run.main(Path(folder), minutes=120.0) == 0
