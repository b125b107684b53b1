"""One small case of estimates: ours, the metrics of labels, and NannyML's input and output."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from benchmarks.monitor.estimates import Case, lines, measured

from benchmarks.monitor import estimates


@pytest.mark.parametrize(
    ("kind", "names"), [("regression", ["mae", "rmse"]), ("classes", ["accuracy", "macro_recall"])]
)
def test_a_case_is_measured_and_left_for_the_rival(
    kind: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both tools get the same rows; a table row has both for the metrics that both support."""
    monkeypatch.setattr(estimates, "WINDOW", 1000)
    case = Case(kind, "no shift")
    found = measured(case, 2, seed=1, folder=tmp_path / "case")
    assert found.refused == 0 and len(found.real) == 2
    reference, windows = (pq.read_table(tmp_path / "case" / f"{name}.parquet") for name in ("reference", "windows"))
    assert (reference.num_rows, windows.num_rows) == (estimates.REFERENCE, 2000)
    assert json.loads((tmp_path / "case" / "about.json").read_text())["rows"] == 1000
    theirs = {estimates.THEIRS[name]: [[each[name], 0.1] for each in found.real] for name in names}
    printed = list(lines(case, found, {"cpu": 1.0, "found": theirs}))
    assert [line.split(" | ")[2] for line in printed] == names
    assert all("0.0000, 100 (100)" in line for line in printed)
