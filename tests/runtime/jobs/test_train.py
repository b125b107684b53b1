"""The training entrypoint as SageMaker runs it, with its own /opt/ml: as a process, or as a function where that is equivalent."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.runtime.serving import model_environments

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model_manifest import ModelManifest
from mlops_runtime.jobs.job_environment import OptMl
from mlops_runtime.jobs.train import main, program
from mlops_runtime.retraining.training_metrics import read_log_line
from mlops_runtime.serving.model_folder import MANIFEST_FILE
from mlops_runtime.serving.model_source import ModelEnvironment, load_folder
from mlops_runtime.serving.onnx_model import load_directory

GOOD = """
import os, pathlib, shutil, helper
if __name__ == "__main__":
    source = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"])
    for name in helper.NAMES:
        shutil.copy(source / name, os.environ["SM_MODEL_DIR"])
"""


def run(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the entrypoint over ``root``."""
    command = [sys.executable, "-m", "mlops_runtime.jobs.train", *arguments]
    environment = {**os.environ, **variables, "MLOPS_OPT_ML": str(root)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)


def called(root: Path, *arguments: str, **variables: str) -> SimpleNamespace:
    """Call the entrypoint's function over ``root``; scripts and models still have their own processes."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        for name, value in (*variables.items(), ("MLOPS_OPT_ML", str(root))):
            patch.setenv(name, value)
        return SimpleNamespace(returncode=main(list(arguments)), lines=out.getvalue().splitlines())


def code(root: Path, script: str) -> None:
    """Put a script and its helper as a zip into channel ``code``."""
    channel = root / "input" / "data" / "code"
    channel.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(channel / "asset.zip", "w") as archive:
        archive.writestr("train.py", script)
        archive.writestr("helper.py", 'NAMES = ("model.onnx", "signature.json")')


def test_a_script_trains_a_model_that_can_be_served(models: Any, tmp_path: Path) -> None:
    """The script runs as __main__ with its own imports and writes a loadable model."""
    models.write(tmp_path / "input" / "data" / "train")
    code(tmp_path, GOOD)
    done = run(tmp_path, "train.py")
    model = load_directory(tmp_path / "model")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, f"mlops train: model {model.sha256}")
    assert not (tmp_path / "output" / "failure").exists()


def test_a_script_that_fails_leaves_its_metrics_in_the_log(tmp_path: Path) -> None:
    """Before the reason, which stays the last line; a script without metrics adds nothing."""
    folder = "import os, pathlib\nfolder = pathlib.Path(os.environ['SM_OUTPUT_DATA_DIR'])\n"
    code(tmp_path, folder + "(folder / 'metrics.json').write_text('{\"rmse\": 2.5}')\nraise ValueError('diverged')")
    lines = called(tmp_path, "train.py").lines
    found = read_log_line(lines[-2])
    assert found is not None
    assert (found.metrics, lines[-1][-20:]) == ({"rmse": 2.5}, "ValueError: diverged")


def test_fails_with_the_scripts_last_line(tmp_path: Path) -> None:
    """The failure file, which becomes FailureReason, starts with it."""
    code(tmp_path, "print('loading')\nraise ValueError('no rows after 2017-03-01')")
    done = run(tmp_path, "train.py")
    expected = "train.py ended with exit code 1: ValueError: no rows after 2017-03-01"
    assert (done.returncode, done.stdout) == (1, "loading\n")
    assert done.stderr.splitlines()[-1] == f"mlops train: {expected}"
    assert (tmp_path / "output" / "failure").read_text().splitlines()[0] == expected


def test_fails_when_the_script_leaves_no_servable_model(models: Any, tmp_path: Path) -> None:
    """Exit code 0 without a signature is a failure."""
    (models.write(tmp_path / "model") / "signature.json").unlink()
    code(tmp_path, "pass")
    assert called(tmp_path, "train.py").returncode == 1
    reason = (tmp_path / "output" / "failure").read_text()
    assert reason.startswith("train.py did not leave a model that can be served: cannot read ")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "os.mkfifo(model / 'model.onnx')",
            r"left something other than a file in SM_MODEL_DIR: model\.onnx; write only files and folders",
        ),
        (
            "open(model / 'model.bin', 'wb').truncate(1024**4)",
            r"wrote 1024\.0 GiB to its model folder, at most 10\.0 GiB are",
        ),
        ("shutil.rmtree(model)", r"replaced the folder SM_MODEL_DIR; write files into it instead"),
        (
            "[path.unlink() for path in data.iterdir()]",
            r"deleted a\.parquet in SM_CHANNEL_TRAIN, from which .* do not change the channel",
        ),
        (
            "(data / 'a.parquet').write_text('')",
            r"changed a\.parquet in SM_CHANNEL_TRAIN, from which the model's signature\.json",
        ),
    ],
)
def test_fails_by_name_for_what_a_script_should_not_leave(tmp_path: Path, script: str, reason: str) -> None:
    """A pipe without a writer, a sparse file, no folder, no rows for the signature: each is named without waiting."""
    plan = {"hyperparameters": {"sagemaker_signature": '{"label": "units"}'}}
    (tmp_path / "input" / "config").mkdir(parents=True)
    (tmp_path / "input" / "config" / "hyperparameters.json").write_text(json.dumps(plan["hyperparameters"]))
    channel = tmp_path / "input" / "data" / "train"
    channel.mkdir(parents=True)
    pq.write_table(pa.table({"price": [1.0], "units": [2.0]}), channel / "a.parquet")
    head = "import os, pathlib, shutil\nmodel, data = (pathlib.Path(os.environ[n]) for n in ('SM_MODEL_DIR', 'SM_CHANNEL_TRAIN'))\n"
    code(tmp_path, head + script)
    assert run(tmp_path, "train.py").returncode == 1
    reported = (tmp_path / "output" / "failure").read_text()
    assert re.match(f"train.py {reason}", reported), reported


def test_a_script_with_a_clock_of_its_own_trains(models: Any, tmp_path: Path) -> None:
    """A frozen clock and files with old times do not affect the output."""
    models.write(tmp_path / "input" / "data" / "train")
    clock = "\nimport time\ntime.time = lambda: -1.0\nmodel = pathlib.Path(os.environ['SM_MODEL_DIR'])"
    clock += "\n[os.utime(path, (-1e9, 9e9)) for path in model.iterdir()]"
    code(tmp_path, GOOD + clock)
    done = called(tmp_path, "train.py")
    assert done.returncode == 0, done.lines


@pytest.mark.parametrize("script", ["other.py", "../../../outside.py"])
def test_fails_for_a_script_that_is_not_in_the_zip(tmp_path: Path, script: str) -> None:
    """The error lists the scripts; a path outside the code is rejected."""
    code(tmp_path, GOOD)
    (tmp_path.parent / "outside.py").write_text("")
    assert called(tmp_path, script).returncode == 1
    reason = (tmp_path / "output" / "failure").read_text()
    assert reason == f"channel code does not contain {script!r}, it contains helper.py, train.py"


def test_a_script_finds_its_checkpoints(models: Any, tmp_path: Path) -> None:
    """SageMaker restores them before the script runs."""
    models.write(tmp_path / "input" / "data" / "train")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "epoch").write_text("7")
    wanted = "import os, pathlib\nassert pathlib.Path(os.environ['MLOPS_CHECKPOINT_DIR'], 'epoch').read_text() == '7'\n"
    code(tmp_path, wanted + GOOD)
    assert called(tmp_path, "train.py").returncode == 0


def test_fails_without_a_script(tmp_path: Path) -> None:
    """A failure, so that the job's reason has it."""
    done = run(tmp_path)
    expected = "no script: set the hyperparameter 'sagemaker_program' to the script's path in channel code"
    assert done.stderr == f"mlops train: {expected}\n"
    assert (tmp_path / "output" / "failure").read_text() == expected
    assert run(tmp_path, "a.py", "b.py").stderr == "mlops train: usage: train [<script>], got ['a.py', 'b.py']\n"


@pytest.mark.parametrize("given", ["train.py", '"train.py"'])
def test_sagemaker_starts_train_alone_and_a_hyperparameter_names_the_script(
    models: Any, tmp_path: Path, given: str
) -> None:
    """As text, or JSON by SageMaker's SDK; the script does not get the name as a hyperparameter."""
    models.write(tmp_path / "input" / "data" / "train")
    code(tmp_path, GOOD + '    assert os.environ["SM_HPS"] == \'{"rounds": 3}\'\n')
    config = tmp_path / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps({"sagemaker_program": given, "rounds": "3"}))
    done = called(tmp_path)
    assert (done.returncode, done.lines[-1][:18]) == (0, "mlops train: model"), done.lines


def test_an_argument_and_the_toolkits_variable_come_before_the_hyperparameter(tmp_path: Path) -> None:
    """In this order."""
    config = tmp_path / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text('{"sagemaker_program": "third.py"}')
    opt_ml, variable = OptMl(tmp_path), {"SAGEMAKER_PROGRAM": "second.py"}
    named = [program(opt_ml, ["first.py"], variable), program(opt_ml, [], variable), program(opt_ml, [], {})]
    assert named == ["first.py", "second.py", "third.py"]


LOCK = "1" * 64
# a script that does not know this package
TREES = """
import os, pathlib, pickle, sys
import lightgbm, pandas
assert not any(name.startswith("mlops") for name in sys.modules)
split = pandas.read_parquet(pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]) / "part-0.parquet")
split["store"] = pandas.Categorical(split["store"], categories=["east", "west"])
folder = pathlib.Path(os.environ["SM_MODEL_DIR"])
"""
TEXT = f"""{TREES}
data = lightgbm.Dataset(split[["price", "store"]], split["units"])
lightgbm.train({{"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 1}}, data, 3).save_model(folder / "model.txt")
"""
# scripts for rules of the manifest without a framework
FOLDER = "import os, pathlib, pickle\nfolder = pathlib.Path(os.environ['SM_MODEL_DIR'])\n"
HANDLER = "def load(folder):\n    return 2.0\n\ndef predict(model, frame):\n    return model * frame['price']\n"
ANSWERS = f"{FOLDER}(folder / 'model.py').write_text({HANDLER!r})\n"
PICKLE = f"""{FOLDER}
from sklearn.dummy import DummyRegressor
model = DummyRegressor().fit([[1.0]], [2.0])
(folder / "model.pkl").write_bytes(pickle.dumps(model))
"""
DATA = f"{FOLDER}(folder / 'model.pkl').write_bytes(pickle.dumps(2.0))\n"
PLAN = {"label": "units", "kind": "number", "without": ["at"]}


def split(root: Path, **hyperparameters: Any) -> None:
    """Write a training split and hyperparameters."""
    at = pa.array([datetime(2026, 1, 1)] * 40)
    rows = {
        "price": [float(i) for i in range(40)],
        "store": ["east", "west"] * 20,
        "units": [2.0 * i for i in range(40)],
    }
    channel = root / "input" / "data" / "train"
    channel.mkdir(parents=True)
    pq.write_table(pa.table({"at": at, **rows}), channel / "part-0.parquet")
    (root / "input" / "config").mkdir()
    given = {name: json.dumps(value) for name, value in hyperparameters.items()}
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(given))


def of(trust: str = "data,code", **variables: str) -> dict[str, str]:
    """Return the variables of an image whose environment is this one."""
    given = {"MLOPS_MODEL_PYTHON": sys.executable, "MLOPS_REQUIREMENTS_SHA256": LOCK, "MLOPS_TRUST": trust}
    return given | variables


def test_a_model_that_is_not_onnx_is_packed(tmp_path: Path) -> None:
    """Its script writes one file; the job adds the split's signature, and the manifest for both."""
    split(tmp_path, sagemaker_signature=PLAN)
    code(tmp_path, TEXT)
    done = run(tmp_path, "train.py", **of())
    assert done.returncode == 0, done.stderr
    manifest = from_json(ModelManifest, (tmp_path / "model" / MANIFEST_FILE).read_bytes())
    assert (manifest.flavor, manifest.trust, manifest.requirements_sha256) == ("lightgbm", "data", LOCK)
    assert sorted(manifest.files) == ["model.txt", "signature.json"]
    assert manifest.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    model = load_folder(tmp_path / "model", ModelEnvironment.from_variables(of()))
    try:
        assert [(c.name, c.type) for c in model.signature.inputs] == [("price", "number"), ("store", "category")]
        assert done.stderr.splitlines()[-1] == f"mlops train: model {model.sha256}"
    finally:
        model.close()


def test_a_pickle_is_refused_where_it_is_not_allowed(tmp_path: Path) -> None:
    """In the training job, before anything is loaded."""
    split(tmp_path, sagemaker_signature={"label": "units", "kind": "number", "inputs": ["price"]})
    code(tmp_path, DATA)
    assert called(tmp_path, "train.py", **of()).returncode == 1
    reason = (tmp_path / "output" / "failure").read_text()
    assert (
        "train.py did not leave a model that can be served: model.pkl is loaded by pickle with trust 'pickle'" in reason
    )
    code(tmp_path, PICKLE)
    assert called(tmp_path, "train.py", **of("data,code,pickle")).returncode == 0


def test_the_scripts_own_signature_stays(tmp_path: Path) -> None:
    """The job writes one only if none exists."""
    split(tmp_path, sagemaker_signature=PLAN)
    own = {"inputs": [{"name": "price", "type": "number"}, {"name": "store", "type": "number"}], "output": "sold"}
    code(tmp_path, f"{ANSWERS}(folder / 'signature.json').write_text({json.dumps(own)!r})\n")
    assert called(tmp_path, "train.py", **of()).returncode == 0
    assert json.loads((tmp_path / "model" / "signature.json").read_text()) == own


def test_fails_where_the_image_has_no_environment_for_the_model(tmp_path: Path) -> None:
    """The error names the right image."""
    split(tmp_path, sagemaker_signature=PLAN)
    code(tmp_path, f"{FOLDER}(folder / 'model.txt').write_text('tree\\n')")
    assert called(tmp_path, "train.py").returncode == 1
    reason = (tmp_path / "output" / "failure").read_text()
    assert "it is of flavor 'lightgbm', and this image has no environment" in reason
    assert reason.endswith("set the job's image to ModelImage.from_requirements(lock)")


def test_fails_on_a_model_that_cannot_be_asked(tmp_path: Path) -> None:
    """Finds a raising handler and an empty folder before the job ends."""
    split(tmp_path, sagemaker_signature=PLAN)
    handler = "def load(folder):\n    return 1\n\ndef predict(model, frame):\n    raise KeyError('colour')\n"
    code(tmp_path, f"{FOLDER}(folder / 'model.py').write_text({handler!r})\n")
    assert called(tmp_path, "train.py", **of()).returncode == 1
    assert "colour" in (tmp_path / "output" / "failure").read_text()
    shutil.rmtree(tmp_path / "model")
    code(tmp_path, "pass")
    assert called(tmp_path, "train.py", **of()).returncode == 1
    assert "model.py with load and predict; got no file" in (tmp_path / "output" / "failure").read_text()


def test_another_environment_does_not_see_the_packages_of_this_one(tmp_path: Path) -> None:
    """Paths of this interpreter's packages are removed."""
    split(tmp_path)
    code(tmp_path, "import os\nraise SystemExit(sorted({'PYTHONPATH', 'VIRTUAL_ENV'} & os.environ.keys()) or 'none')")
    variables = {"PYTHONPATH": str(tmp_path), "VIRTUAL_ENV": str(tmp_path)}
    called(tmp_path, "train.py", **of(**variables))
    assert "exit code 1: none" in (tmp_path / "output" / "failure").read_text()
    called(tmp_path, "train.py", **variables)
    assert "['PYTHONPATH', 'VIRTUAL_ENV']" in (tmp_path / "output" / "failure").read_text()


def test_fails_on_a_plan_that_no_pipeline_writes(tmp_path: Path) -> None:
    """The error names the hyperparameter."""
    split(tmp_path, sagemaker_signature={"kind": "number"})
    code(tmp_path, ANSWERS)
    assert called(tmp_path, "train.py", **of()).returncode == 1
    assert "hyperparameter 'sagemaker_signature': " in (tmp_path / "output" / "failure").read_text()


MLFLOW = """
import os, pathlib
import mlflow.sklearn, pandas
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

rows = pandas.DataFrame({"store": ["east", "west"] * 20, "price": [float(i) for i in range(40)]})
encoded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["store"]), remainder="passthrough")
model = make_pipeline(encoded, LinearRegression()).fit(rows, rows["price"] * 2)
folder = pathlib.Path(os.environ["SM_MODEL_DIR"]) / "mlflow"
mlflow.sklearn.save_model(model, str(folder), signature=infer_signature(rows), pip_requirements=["scikit-learn"])
"""


def test_an_mlflow_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    """Columns come from its own signature, their categories from the split."""
    split(tmp_path, sagemaker_signature=PLAN)
    code(tmp_path, MLFLOW)
    done = run(tmp_path, "train.py", **of(MLOPS_MODEL_PYTHON=str(model_environments.python("estimators"))))
    assert done.returncode == 0, done.stderr
    manifest = from_json(ModelManifest, (tmp_path / "model" / MANIFEST_FILE).read_bytes())
    assert (manifest.flavor, manifest.entry, manifest.trust) == ("mlflow", "mlflow", "data")
    signature = json.loads((tmp_path / "model" / "signature.json").read_text())
    assert [(c["name"], c.get("kind"), c["categories"]) for c in signature["inputs"]] == [
        ("store", "text", ["east", "west"]), ("price", None, [])
    ]  # fmt: skip


def test_what_a_container_of_others_loads_is_left_as_it_is(tmp_path: Path) -> None:
    """A pickle with the split's signature: nothing is loaded, detected or added."""
    split(tmp_path, sagemaker_signature={**PLAN, "loaded_by": "container"})
    code(tmp_path, DATA)
    done = called(tmp_path, "train.py")
    assert done.returncode == 0, done.lines
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.pkl", "signature.json"]
    signature = json.loads((tmp_path / "model" / "signature.json").read_text())
    assert signature["passes"] == "values"
    assert [column["name"] for column in signature["inputs"]] == ["price", "store"]


def test_fails_where_nothing_is_left_for_the_container(tmp_path: Path) -> None:
    """A signature without a model is a failure."""
    split(tmp_path, sagemaker_signature={**PLAN, "loaded_by": "container"})
    code(tmp_path, "print('nothing')")
    assert called(tmp_path, "train.py").returncode == 1
    reason = (tmp_path / "output" / "failure").read_text()
    assert reason == "train.py left no model beside signature.json; write what the container loads to SM_MODEL_DIR"
