"""The step between training set and training, as a process with its own /opt/ml."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

COPY = """
import os, pathlib, shutil
for path in pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir():
    shutil.copy(path, os.environ["SM_OUTPUT_DIR"])
"""


def run(root: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the entrypoint over ``root`` with a training split and a script ``step.py``."""
    base = root / "processing" / "input"
    for name in ("train", "code"):
        (base / name).mkdir(parents=True)
    (base / "train" / "part-0.parquet").write_bytes(b"rows")
    with zipfile.ZipFile(base / "code" / "asset.zip", "w") as archive:
        archive.writestr("step.py", script)
    command = [sys.executable, "-m", "mlops_runtime.jobs.process", *arguments]
    environment = {**os.environ, "MLOPS_OPT_ML": str(root)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_what_a_script_writes_is_the_output(tmp_path: Path) -> None:
    """It gets only the training split."""
    done = run(tmp_path, COPY, "step.py")
    assert (done.returncode, done.stderr) == (0, "mlops process: 1 files\n")
    assert (tmp_path / "processing" / "output" / "processed" / "part-0.parquet").read_bytes() == b"rows"


def test_fails_when_a_script_writes_nothing_or_fails(tmp_path: Path) -> None:
    """One line each."""
    nothing = run(tmp_path / "a", "pass", "step.py")
    assert (nothing.returncode, nothing.stderr) == (
        1,
        "mlops process: step.py must write files to SM_OUTPUT_DIR, got none\n",
    )
    broken = run(tmp_path / "b", "raise SystemExit('no column')", "step.py")
    assert broken.returncode == 1
    assert broken.stderr.splitlines()[-1] == "mlops process: step.py ended with exit code 1: no column"
    assert "usage" in run(tmp_path / "c", "pass").stderr


def test_a_script_runs_with_the_python_of_the_models_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the image has one: the step's results equal those of training and serving."""
    python = tmp_path / "environment" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nOF_THE_MODEL=1 exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("MLOPS_MODEL_PYTHON", str(python))
    wanted = "import os\nassert 'OF_THE_MODEL' in os.environ\n" + COPY
    assert run(tmp_path / "a", wanted, "step.py").returncode == 1
    monkeypatch.setenv("MLOPS_REQUIREMENTS_SHA256", "1" * 64)
    assert run(tmp_path / "b", wanted, "step.py").returncode == 0
