"""A training script alone, as the page shows: with its own variables, and with the pipeline's error messages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from examples.own_model.export import visits
from examples.own_model.stack import HERE
from tests.docs.test_own_training import rehearsed

from mlops_runtime.jobs.job_environment import JobError


def test_the_script_runs_by_hand(tmp_path: Path) -> None:
    """The script reads only three variables."""
    train, _ = visits()
    train.to_parquet(tmp_path / "rows.parquet", index=False)
    variables = {
        "SM_CHANNEL_TRAIN": str(tmp_path / "rows.parquet"),
        "SM_MODEL_DIR": str(tmp_path),
        "SM_OUTPUT_DATA_DIR": str(tmp_path),
    }
    subprocess.run([sys.executable, str(HERE / "training/train.py")], env={**os.environ, **variables}, check=True)
    assert (tmp_path / "model.pkl").stat().st_size > 1000


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit('no price column')", "train.py ended with exit code 1: no price column"),
        (
            "print('trained')",
            "train.py did not leave a model that can be served: the folder must have a model of XGBoost",
        ),
        (
            "import os, pathlib\n(pathlib.Path(os.environ['SM_MODEL_DIR']) / 'weights.pt').write_bytes(b'PK')",
            "train.py did not leave a model that can be served: weights.pt has weights without a network",
        ),
    ],
)
def test_what_goes_wrong_is_said(tmp_path: Path, script: str, reason: str) -> None:
    """A failed rehearsal raises the job's failure reason."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text(script)
    with pytest.raises(JobError) as error:
        rehearsed(tmp_path / "rehearsal", code=code)
    assert str(error.value).startswith(reason)
