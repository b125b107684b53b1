"""Erasures in schedules of processes that are paused and killed; ``python -m tests.campaign.erasures.run FOLDER`` resumes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.campaign.erasures import run


@pytest.mark.campaign
def test_no_schedule_leaves_a_byte_of_an_entity(tmp_path: Path) -> None:
    """In tables, catalog, training sets and manifests, whichever process is killed when."""
    assert run.main(tmp_path, seeds=20, on_page=tmp_path / "campaign.md") == 0


def test_the_page_names_what_a_schedule_left() -> None:
    """By its seed, which repeats it."""
    row = {
        "seed": 7,
        "killed": ["job1"],
        "failed": [],
        "sets": 2,
        "tombstones": 1,
        "pending": [],
        "left": ["a.parquet"],
    }
    made = run.section([row, {**row, "seed": 8, "left": []}], datetime(2017, 1, 1, tzinfo=UTC))
    assert "| schedules | 2 of 500 |" in made
    assert "| schedules that leave a byte of an entity | 1 |" in made
    assert "Left by seed 7: a.parquet" in made
