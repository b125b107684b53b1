"""The predict job: one model over one holdout, as a process in the model's own image."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.runtime.serving import model_folders

from mlops_runtime.jobs.holdout_predictions import holdout_sha256, read_predictions
from mlops_runtime.serving.model_folder import hash_of

TABLE = pa.table({"price": [2.0, None, 4.0], "store": ["east", "west", None], "units": [1, 2, 3]})


@pytest.fixture
def opt_ml(tmp_path: Path) -> Path:
    """Return a folder with a handler and a holdout in the job's layout."""
    folder = tmp_path / "opt"
    model_folders.handler(tmp_path / "model")
    model_folders.archive(tmp_path / "model", folder / "processing" / "input" / "model" / "model.tar.gz")
    (folder / "processing" / "input" / "holdout").mkdir(parents=True)
    pq.write_table(TABLE, folder / "processing" / "input" / "holdout" / "part-0.parquet")
    return folder


def run(opt_ml: Path, digest: str, environment: dict[str, str] = model_folders.ENVIRONMENT) -> tuple[int, str]:
    """Run the job; return its exit code and standard error."""
    command = [sys.executable, "-m", "mlops_runtime.jobs.predict", "--artifact-sha256", digest]
    variables = {**os.environ, **environment, "MLOPS_OPT_ML": str(opt_ml)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_each_row_has_its_prediction(opt_ml: Path) -> None:
    """In the holdout's order; nulls reach the model as missing values."""
    inputs = opt_ml / "processing" / "input"
    digest = hash_of(inputs / "model" / "model.tar.gz")
    assert run(opt_ml, digest)[0] == 0
    path = opt_ml / "processing" / "output" / "predictions" / "predictions.parquet"
    read = read_predictions(path, artifact_sha256=digest, holdout=holdout_sha256(inputs / "holdout"), rows=3)
    np.testing.assert_array_equal(read.values, [6.0, 0.0, 13.0])
    assert read.of.failure is None


def test_what_cannot_be_predicted_is_one_line(opt_ml: Path) -> None:
    """Another archive, and an image without the model's environment."""
    digest = hash_of(opt_ml / "processing" / "input" / "model" / "model.tar.gz")
    for arguments in (("0" * 64,), (digest, {})):
        code, error = run(opt_ml, *arguments)
        assert code == 1
        assert (opt_ml / "output" / "message").read_text() == error.removeprefix("mlops ").rstrip()  # the ExitMessage
        assert error.startswith("mlops predict: ")
        assert error.count("\n") == 1


def test_a_model_that_fails_has_no_predictions_and_a_reason(opt_ml: Path, tmp_path: Path) -> None:
    """As in the evaluation, a failing champion does not block the candidate."""
    archive = opt_ml / "processing" / "input" / "model" / "model.tar.gz"
    model_folders.handler(tmp_path / "bad", "def load(folder): ...\ndef predict(model, frame): raise KeyError('x')\n")
    model_folders.archive(tmp_path / "bad", archive)
    assert run(opt_ml, hash_of(archive))[0] == 0
    path = opt_ml / "processing" / "output" / "predictions" / "predictions.parquet"
    holdout = holdout_sha256(archive.parent.parent / "holdout")
    read = read_predictions(path, artifact_sha256=hash_of(archive), holdout=holdout, rows=3)
    assert np.isnan(read.values).all()
    assert read.of.failure == "the model failed: KeyError: 'x'"
