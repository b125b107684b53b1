"""Every framework through the loop with real data; ``python -m tests.campaign.frameworks.run FOLDER`` resumes."""

from pathlib import Path

import pytest
from tests.campaign.frameworks import run
from tests.campaign.frameworks.baskets import HOLDOUT_ROWS, TIME, label_of, signature, splits
from tests.campaign.frameworks.report import section

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.features import TrainingSetManifest


@pytest.mark.campaign
def test_each_framework_goes_around_the_loop(tmp_path: Path) -> None:
    """Saves, registers, evaluates, gates, approves and serves each model; the endpoint returns the framework's predictions."""
    assert run.main(tmp_path, page=tmp_path / "campaign.md") == 0


def test_the_table_is_split_by_time() -> None:
    """50,000 rows are held out, and none of their weeks trains."""
    made = splits("sales")
    assert made.holdout.num_rows == HOLDOUT_ROWS
    assert made.train.num_rows > 30_000
    assert max(made.train[TIME].to_pylist()) < min(made.holdout[TIME].to_pylist())
    split = from_json(TrainingSetManifest, made.manifest).split
    assert split["trained_until"] < split["holdout_from"] < split["holdout_until"]


def test_each_model_has_a_signature_of_the_tables_columns(tmp_path: Path) -> None:
    """A caller sends the columns of the holdout; MLflow's folders have their own signature."""
    for name in run.NAMES:
        if not name.startswith("mlflow"):
            columns = [column.name for column in signature(name, tmp_path).inputs]
            assert set(columns) <= set(splits(label_of(name)).holdout.column_names)


def test_the_page_names_each_model_and_its_problem() -> None:
    """The page has a row per model; the first line counts those without a problem."""
    row = {
        "name": "a",
        "seconds": 3.0,
        "registered": {"reason": "xgboost model; mae 1; loss against mean"},
        "worst": 0.0,
    }
    made = section([{**row, "problem": None}, {**row, "name": "b", "problem": "it was not registered"}])
    assert "1 of 2 ways" in made
    assert "| `a` | xgboost model; mae 1 | 3.0 | 0 | none |" in made
    assert "| `b` |" in made
