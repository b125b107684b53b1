"""The whole campaign: ``pytest -m campaign tests/campaign/candidates [--campaign-dir <folder>]``; a second run resumes."""

from pathlib import Path

import pytest
from tests.campaign.candidates import report, rollouts, run

pytestmark = pytest.mark.campaign

ROOT = Path(__file__).resolve().parents[3]
COMMAND = "pytest -m campaign tests/campaign/candidates"


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    """Folder of the results."""
    return Path(request.config.getoption("--campaign-dir", default=None) or ROOT / ".mlops" / "campaign")


@pytest.mark.parametrize("part", run.PARTS)
def test_every_candidate_goes_along_the_way(folder: Path, part: str) -> None:
    """Every candidate has a result of evaluation, gate, server and golden requests."""
    run.run(folder, part, lambda _: None)
    wanted = {cell.key for cell in run.PARTS[part]()}
    assert set(run.results(folder, part)) == wanted


def test_what_passed_is_rolled_out_and_reported(folder: Path, tmp_path: Path) -> None:
    """Rolls out on the embedded cloud the candidates that passed; then writes the page, whether or not the goals are met."""
    run.run_apart(folder)
    rollouts.run(folder, tmp_path, lambda _: None)
    assert set(rollouts.chosen(folder)) <= set(run.results(folder, rollouts.PART))
    report.write_now(folder, ROOT / "docs" / "campaign.md", f"`{COMMAND}`")
    assert report.BEGIN in (ROOT / "docs" / "campaign.md").read_text()
