"""The unit's declaration matches its data, and the gate decides correctly on models of its training scripts."""

import hashlib

import numpy as np
import onnx
import pytest
from examples.retail.demand_forecasting import data, declaration
from examples.retail.demand_forecasting.features import GROUPS, INPUTS
from examples.retail.model_files import archive_of
from examples.retail.model_files import train as train_model
from examples.retail.transactions import week_start

from mlops_runtime.contracts.model import GateVerdict
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.jobs.evaluate import Inputs, evaluate
from mlops_runtime.jobs.model_input import model_input
from mlops_runtime.retraining.registration_gate import evaluate_gate
from mlops_runtime.serving.onnx_model import load_directory


@pytest.fixture(scope="module")
def week_30(tmp_path_factory):
    """Return the training set as of the end of week 30 and a folder with its files."""
    folder = tmp_path_factory.mktemp("week-30")
    store = FeatureStoreClient.local(folder / "store", now=lambda: week_start(31))
    data.ingest_weeks(store, 1, 30)
    built = store.split_training_set(declaration.TRAINING_SET, as_of=week_start(31))
    for path, content in built.files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    return built, folder


def train(folder, script: str, name: str):
    """Run a script as the training job does and return its model's folder."""
    train_model(declaration.TRAINING_CODE / script, folder / "train", folder / name)
    return folder / name


@pytest.fixture(scope="module")
def trained(week_30):
    """Return the folder of the model of the unit's script."""
    return train(week_30[1], "train.py", "one")


def judged(built, folder):
    """Return evaluation and gate result of a model."""
    inputs = Inputs(train=built.train, holdout=built.holdout, manifest=built.manifest, candidate=archive_of(folder))
    evaluation, _ = evaluate(declaration.EVALUATION, inputs, "file:///baseline.json")
    return evaluation, evaluate_gate(evaluation, declaration.GATE, uri="file:///evaluation.json", sha256="0" * 64)


def test_lock_covers_the_groups():
    """The lock file in git matches the groups' declarations."""
    FeatureLock.read(declaration.LOCK_FILE).check(GROUPS)


def test_training_set_of_week_30(week_30):
    """Weeks 9-22 train, weeks 23-30 are held out, and every row has its history."""
    built, _ = week_30
    assert (min(built.train["week"].to_pylist()), max(built.train["week"].to_pylist())) == (9, 22)
    assert sorted(set(built.holdout["week"].to_pylist())) == [*range(23, 31)]
    assert built.train["units_mean_8"].null_count == built.holdout["planned_price"].null_count == 0


def test_holdout_rows_are_the_live_requests(week_30):
    """The store returns for week 30 what a client sends: no training-serving skew."""
    built, _ = week_30
    key = [("store_id", "ascending"), ("category", "ascending")]
    held = [row for row in built.holdout.sort_by(key).to_pylist() if row["week"] == 30]
    live = data.series_of(30).sort_by(key).to_pylist()
    assert [{name: row[name] for name in INPUTS} for row in held] == [
        {name: row[name] for name in INPUTS} for row in live
    ]


def test_model_beats_the_baselines_and_passes_the_gate(week_30, trained):
    """The script is deterministic, accepts the columns of live requests, and its model beats all three naive forecasts."""
    built, folder = week_30
    first, second = trained, train(folder, "train.py", "two")
    digests = {hashlib.sha256((path / "model.onnx").read_bytes()).hexdigest() for path in (first, second)}
    assert len(digests) == 1
    assert {column.name for column in load_directory(first).signature.inputs} == set(INPUTS)
    evaluation, gate = judged(built, first)
    assert gate.verdict is GateVerdict.PASSED, gate.reason
    assert evaluation.metrics["candidate"] < min(evaluation.metrics[name] for name in declaration.EVALUATION.baselines)


def test_elasticity_regression_is_refused(week_30):
    """A model that fails for zeros can be served, but the gate rejects it for those rows."""
    built, folder = week_30
    path = train(folder, "elasticity.py", "elasticity")
    model = load_directory(path)
    model.predict(np.zeros((2, len(model.signature.inputs)), dtype=np.float32))
    evaluation, gate = judged(built, path)
    assert evaluation.non_finite["candidate"] > 0
    assert gate.verdict is GateVerdict.FAILED


def test_no_forecast_is_below_zero(week_30, trained):
    """Without sales trees may sum to slightly less than zero; the served model does not."""
    built, _ = week_30
    model = load_directory(trained)
    rows = np.zeros((64, len(model.signature.inputs)), dtype=np.float32)
    rows[:, 0] = np.arange(64) % len(model.signature.inputs[0].categories)
    everywhere = np.concatenate([model.predict(rows), model.predict(model_input(built.holdout, model.signature))])
    assert everywhere.min() >= 0
    assert onnx.load(trained / "model.onnx").graph.node[-1].op_type == "Relu"


def test_the_compiled_model_is_refused(week_30):
    """It answers batches of typical size, as in golden requests, but not a whole week: the gate detects it."""
    built, folder = week_30
    path = train(folder, "compiled.py", "compiled")
    model = load_directory(path)
    rows = model_input(built.holdout, model.signature)
    assert len(model.predict(rows[:512])) == 512
    with pytest.raises(Exception, match="indices element out of data bounds"):
        model.predict(rows[:513])
    _, gate = judged(built, path)
    assert gate.verdict is GateVerdict.FAILED
    assert "could not predict the holdout" in gate.reason
