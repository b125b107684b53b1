"""The training entrypoint as SageMaker runs it: a process over an /opt/ml of its own."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mlops_runtime.jobs.job_environment import OptMl
from mlops_runtime.jobs.train import program
from mlops_runtime.serving.onnx_model import load_directory

GOOD = """
import os, pathlib, shutil, helper
if __name__ == "__main__":
    source = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"])
    for name in helper.NAMES:
        shutil.copy(source / name, os.environ["SM_MODEL_DIR"])
"""


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the entrypoint over ``root``."""
    command = [sys.executable, "-m", "mlops_runtime.jobs.train", *arguments]
    environment = {**os.environ, "MLOPS_OPT_ML": str(root)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def code(root: Path, script: str) -> None:
    """Put a script and its helper into channel ``code`` as a zip."""
    channel = root / "input" / "data" / "code"
    channel.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(channel / "asset.zip", "w") as archive:
        archive.writestr("train.py", script)
        archive.writestr("helper.py", 'NAMES = ("model.onnx", "signature.json")')


def test_a_script_trains_a_model_that_can_be_served(models: Any, tmp_path: Path) -> None:
    """The script runs as __main__ with its own imports and leaves a model that loads."""
    models.write(tmp_path / "input" / "data" / "train")
    code(tmp_path, GOOD)
    done = run(tmp_path, "train.py")
    model = load_directory(tmp_path / "model")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, f"mlops train: model {model.sha256}")
    assert not (tmp_path / "output" / "failure").exists()


def test_fails_with_the_scripts_last_line(tmp_path: Path) -> None:
    """The failure file, which becomes FailureReason, begins with what went wrong."""
    code(tmp_path, "print('loading')\nraise ValueError('no rows after 2017-03-01')")
    done = run(tmp_path, "train.py")
    expected = "train.py ended with exit code 1: ValueError: no rows after 2017-03-01"
    assert (done.returncode, done.stdout) == (1, "loading\n")
    assert done.stderr.splitlines()[-1] == f"mlops train: {expected}"
    assert (tmp_path / "output" / "failure").read_text().splitlines()[0] == expected


def test_fails_when_the_script_leaves_no_servable_model(models: Any, tmp_path: Path) -> None:
    """A training that ends with 0 but without a signature has failed."""
    (models.write(tmp_path / "model") / "signature.json").unlink()
    code(tmp_path, "pass")
    assert run(tmp_path, "train.py").returncode == 1
    reason = (tmp_path / "output" / "failure").read_text()
    assert reason.startswith("train.py did not leave a model that can be served: cannot read ")


@pytest.mark.parametrize("script", ["other.py", "../../../outside.py"])
def test_fails_for_a_script_that_is_not_in_the_zip(tmp_path: Path, script: str) -> None:
    """The scripts that there are are named; a path out of the code is none of them."""
    code(tmp_path, GOOD)
    (tmp_path.parent / "outside.py").write_text("")
    assert run(tmp_path, script).returncode == 1
    reason = (tmp_path / "output" / "failure").read_text()
    assert reason == f"channel code does not hold {script!r}, it holds helper.py, train.py"


def test_a_script_finds_its_checkpoints(models: Any, tmp_path: Path) -> None:
    """What SageMaker brought back is there before the script runs."""
    models.write(tmp_path / "input" / "data" / "train")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "epoch").write_text("7")
    wanted = "import os, pathlib\nassert pathlib.Path(os.environ['MLOPS_CHECKPOINT_DIR'], 'epoch').read_text() == '7'\n"
    code(tmp_path, wanted + GOOD)
    assert run(tmp_path, "train.py").returncode == 0


def test_fails_without_a_script(tmp_path: Path) -> None:
    """That is a failure like others, so that the job's reason shows it."""
    done = run(tmp_path)
    expected = "no script: set the hyperparameter 'sagemaker_program' to the script's path in channel code"
    assert done.stderr == f"mlops train: {expected}\n"
    assert (tmp_path / "output" / "failure").read_text() == expected
    assert run(tmp_path, "a.py", "b.py").stderr == "mlops train: usage: train [<script>], got ['a.py', 'b.py']\n"


@pytest.mark.parametrize("given", ["train.py", '"train.py"'])
def test_sagemaker_starts_train_alone_and_a_hyperparameter_names_the_script(
    models: Any, tmp_path: Path, given: str
) -> None:
    """Text, or JSON as SageMaker's SDK writes it; the script does not see the name among its own hyperparameters."""
    models.write(tmp_path / "input" / "data" / "train")
    code(tmp_path, GOOD + '    assert os.environ["SM_HPS"] == \'{"rounds": 3}\'\n')
    config = tmp_path / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps({"sagemaker_program": given, "rounds": "3"}))
    done = run(tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1][:18]) == (0, "mlops train: model"), done.stderr


def test_an_argument_and_the_toolkits_variable_come_before_the_hyperparameter(tmp_path: Path) -> None:
    """In this order."""
    config = tmp_path / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text('{"sagemaker_program": "third.py"}')
    opt_ml, variable = OptMl(tmp_path), {"SAGEMAKER_PROGRAM": "second.py"}
    named = [program(opt_ml, ["first.py"], variable), program(opt_ml, [], variable), program(opt_ml, [], {})]
    assert named == ["first.py", "second.py", "third.py"]
