"""Files of predictions, bound to one model and one holdout."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_runtime.contracts.model import HoldoutPredictions
from mlops_runtime.jobs.holdout_predictions import Predicted, holdout_sha256, read_predictions, write_predictions
from mlops_runtime.jobs.job_environment import JobError

MODEL, HOLDOUT = "a" * 64, "b" * 64
PREDICTED = Predicted(
    values=np.array([1.5, np.nan, 20_000_001.0]),
    of=HoldoutPredictions(artifact_sha256=MODEL, model_sha256="c" * 64, holdout_sha256=HOLDOUT, failure="why"),
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Values keep their last bit, with their origin."""
    path = write_predictions(tmp_path / "out", PREDICTED)
    read = read_predictions(path, artifact_sha256=MODEL, holdout=HOLDOUT, rows=3)
    np.testing.assert_array_equal(read.values, PREDICTED.values)
    assert read.of == PREDICTED.of


def test_predictions_of_anything_else_are_refused_with_every_difference(tmp_path: Path) -> None:
    """Another model, another holdout, another number of rows."""
    path = write_predictions(tmp_path, PREDICTED)
    message = f"of archive {MODEL}, expected None; of holdout {HOLDOUT}, expected x; rows 3, expected 4; remove it"
    with pytest.raises(JobError, match=message):
        read_predictions(path, artifact_sha256=None, holdout="x", rows=4)


def test_a_file_of_another_writer_is_refused(tmp_path: Path) -> None:
    """A Parquet file without our metadata, and a file of another format."""
    pq.write_table(pa.table({"prediction": [1.0]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"x")
    for name in ("a.parquet", "b.parquet"):
        with pytest.raises(JobError, match=f"{name} must be a file that the predict job wrote"):
            read_predictions(tmp_path / name, artifact_sha256=MODEL, holdout=HOLDOUT, rows=1)


def test_a_holdout_is_its_files(tmp_path: Path) -> None:
    """Another file name or content is another holdout; other formats are ignored."""
    (tmp_path / "a.parquet").write_bytes(b"1")
    first = holdout_sha256(tmp_path)
    (tmp_path / "note.txt").write_text("x")
    assert holdout_sha256(tmp_path) == first
    (tmp_path / "a.parquet").write_bytes(b"2")
    second = holdout_sha256(tmp_path)
    (tmp_path / "a.parquet").rename(tmp_path / "b.parquet")
    assert len({first, second, holdout_sha256(tmp_path)}) == 3
