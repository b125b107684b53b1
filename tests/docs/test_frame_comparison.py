"""Runs the page's examples of data frames."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from examples.pages.frame_comparison import check, drift
from tests.examples.executed_notebook import Notebook

from mlops_runtime.monitor.frame_comparison import DriftFoundError


def table(seed: int, *, up: float = 1.0) -> pa.Table:
    """Return rows of households over five weeks."""
    random = np.random.default_rng(seed)
    household = random.integers(0, 400, 6000)
    return pa.table(
        {
            "household_id": household,
            "price": random.lognormal(1 + 0.1 * (household % 7), 0.4) * up,
            "store_id": random.integers(0, 12, 6000),
            "at": np.datetime64("2017-08-01", "s") + random.integers(0, 35 * 86_400, 6000).astype("timedelta64[s]"),
        }
    )


def test_a_notebook_shows_what_moved() -> None:
    """The decision names the price."""
    assert drift(table(1), table(2, up=1.3)).drifted == ("price",)
    assert drift(table(1), table(2)).drifted == ()


def test_a_pipeline_stops_at_the_first_week_that_drifted(tmp_path: Path) -> None:
    """The pipeline writes the page of the first drifted week and none of later weeks."""
    weeks = {"one": table(2), "two": table(3, up=1.3), "three": table(4)}
    with pytest.raises(DriftFoundError, match="price"):
        check(table(1), weeks, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.html", "two.html"]


def test_the_notebook_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook's cells, run on real rows, print what the page shows."""
    monkeypatch.chdir(tmp_path)
    notebook = Notebook(Path(__file__).parents[2] / "docs" / "compare.ipynb")
    found = notebook.run()
    if os.environ.get("MLOPS_UPDATE_NOTEBOOK"):
        notebook.write(found)
    assert found == [cell["outputs"] for cell in notebook.cells]
    assert (tmp_path / "drift.html").is_file()
