"""From a public table to a serving model, six times; ``python -m tests.campaign.tables.run FOLDER`` resumes."""

from pathlib import Path

import pytest
from tests.campaign.tables import run
from tests.campaign.tables.public_tables import TABLES

from mlops_cli.frameworks import FRAMEWORKS


@pytest.mark.campaign
def test_each_table_becomes_a_model_that_serves(tmp_path: Path) -> None:
    """Only the printed commands are used, in the required time."""
    assert run.main(tmp_path, page=tmp_path / "campaign.md") == 0


def test_each_framework_has_a_table() -> None:
    """Each framework's table needs no more commands than the figure allows."""
    assert {table.framework for table in TABLES.values()} == set(FRAMEWORKS)
    for name, table in TABLES.items():
        assert len(run.commands(name, table)) <= run.MOST_COMMANDS


def test_the_page_has_what_each_took() -> None:
    """One row per table, with its problem."""
    row = {"framework": "xgboost", "commands": 8, "minutes": 4.2, "cpu": 95, "load": 3.0}
    made = run.section(
        [{**row, "name": "seattle", "problem": None}, {**row, "name": "flights", "problem": "exit 1: no\nreason"}]
    )
    assert "1 of 2 public tables" in made
    assert "| vega_datasets: seattle |" in made
    assert "| `xgboost` | 8 | 0 | 4.2 | 95 | 3.0 | none |" in made
    assert "| exit 1: no |" in made
