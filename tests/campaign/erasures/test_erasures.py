"""Erasures in schedules of processes that are paused and killed; ``python -m tests.campaign.erasures.run FOLDER`` resumes."""

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.campaign.erasures import run
from tests.campaign.erasures.actors import GIVEN, KINDS


@pytest.mark.campaign
def test_no_schedule_leaves_a_byte_of_an_entity(tmp_path: Path) -> None:
    """No data of the entity is left in tables, catalog, training sets, manifests or online store, whichever process is killed."""
    assert run.main(tmp_path, seeds=20, on_page=tmp_path / "campaign.md") == 0


def test_the_page_names_what_a_schedule_left() -> None:
    """The page names a leftover by the schedule's seed, which repeats it."""
    row = {
        "seed": 7,
        "on": "folder",
        "killed": ["job1"],
        "refused": [],
        "failed": [],
        "sets": 2,
        "tombstones": 1,
        "pending": [],
        "left": ["a.parquet"],
    }
    made = run.section([row, {**row, "seed": 9, "on": "cloud", "left": []}], datetime(2017, 1, 1, tzinfo=UTC))
    assert "2 of 500 schedules" in made
    assert "| schedules that leave a byte of an entity | 1 | 0 |" in made
    assert "Left by seed 7: a.parquet" in made


def test_a_seed_repeats_its_schedule() -> None:
    """Starts, pauses and kills follow from the seed alone; every paused process resumes."""
    found = run.events(random.Random(7))
    assert found == run.events(random.Random(7)) != run.events(random.Random(8))
    assert {kind for _, what, kind in found if what == "start"} == set(KINDS) - set(GIVEN)
    paused, resumed = ([kind for _, what, kind in found if what == action] for action in ("pause", "go on"))
    assert sorted(paused) == sorted(resumed)
