"""The unit's declaration matches its data, and the gate decides correctly on models of its training scripts."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from examples.retail.customer_behavior import data, declaration
from examples.retail.customer_behavior.features import GROUPS, INPUTS
from examples.retail.model_files import HERE, archive_of
from examples.retail.model_files import train as train_model
from examples.retail.transactions import week_start

from mlops_runtime.contracts.model import GateVerdict
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.jobs.evaluate import Inputs, evaluate
from mlops_runtime.jobs.model_input import model_input
from mlops_runtime.retraining.registration_gate import evaluate_gate
from mlops_runtime.serving.model_folder import hash_of
from mlops_runtime.serving.model_source import load_folder

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def week_30(tmp_path_factory):
    """Return the training set as of the end of week 30 and a folder with its files."""
    folder = tmp_path_factory.mktemp("week-30")
    store = FeatureStoreClient.local(folder / "store", now=lambda: week_start(31))
    data.ingest_fortnights(store, 1, 29)
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
def propensity(week_30):
    """Return the folder of the model trained on the set."""
    return train(week_30[1], "train.py", "one")


@pytest.fixture(scope="module")
def model(propensity):
    """Return that model in its own process."""
    loaded = load_folder(propensity, HERE)
    yield loaded
    loaded.close()


def inputs_of(built, folder):
    """Return the inputs of a model's evaluation."""
    return Inputs(
        train=built.train,
        holdout=built.holdout,
        manifest=built.manifest,
        candidate=archive_of(folder),
        environment=HERE,
    )


def judged(built, folder):
    """Return evaluation and gate result of a model."""
    inputs = inputs_of(built, folder)
    evaluation, _ = evaluate(declaration.EVALUATION, inputs, "file:///baseline.json")
    return evaluation, evaluate_gate(evaluation, declaration.GATE, uri="file:///evaluation.json", sha256="0" * 64)


def test_lock_covers_the_groups():
    """The lock file in git matches the groups' declarations."""
    FeatureLock.read(declaration.LOCK_FILE).check(GROUPS)


def test_training_set_of_week_30(week_30):
    """Trains on fortnights until week 26 and holds out two; every row has its history."""
    built, _ = week_30
    assert sorted(set(built.train["fortnight"].to_pylist())) == list(range(9, 26, 2))
    assert sorted(set(built.holdout["fortnight"].to_pylist())) == [27, 29]
    for name in ("own_rate", "visits_8", "category_rate"):
        assert built.train[name].null_count == built.holdout[name].null_count == 0


def test_holdout_rows_are_the_live_requests(week_30):
    """The store returns for fortnight 29 what a client sends: no training-serving skew."""
    built, _ = week_30
    key = [("household_id", "ascending"), ("category", "ascending")]
    held = [row for row in built.holdout.sort_by(key).to_pylist() if row["fortnight"] == 29]
    live = data.pairs_of(29).sort_by(key).to_pylist()
    assert [{name: row[name] for name in INPUTS} for row in held] == [
        {name: row[name] for name in INPUTS} for row in live
    ]


def test_the_script_is_deterministic(week_30, propensity, model):
    """Same rows give the same bytes, with the columns of live requests."""
    again = train(week_30[1], "train.py", "two")
    assert hash_of(propensity / "mlops-model.json") == hash_of(again / "mlops-model.json") == model.sha256
    assert {column.name for column in model.signature.inputs} == set(INPUTS)
    assert (model.manifest.flavor, model.manifest.trust) == ("lightgbm", "data")


def test_it_answers_with_a_probability_that_can_be_believed(week_30, model):
    """One number per row from 0 to 1; the mean over each quarter of the holdout is near the share of buyers."""
    built, _ = week_30
    chance = model.predict(model_input(built.holdout, model.signature))
    bought = built.holdout["bought"].to_numpy()
    assert chance.shape == bought.shape
    assert 0 < chance.min() < 0.1
    assert 0.7 < chance.max() < 1
    for quarter in np.array_split(np.argsort(chance), 4):
        assert chance[quarter].mean() == pytest.approx(bought[quarter].mean(), abs=0.05)


def test_model_beats_the_baselines_and_passes_the_gate(week_30, propensity):
    """Its log loss is below those of the category's rate and the household's own rate."""
    evaluation, gate = judged(week_30[0], propensity)
    assert gate.verdict is GateVerdict.PASSED, gate.reason
    assert evaluation.metric == "log_loss"
    assert evaluation.metrics["candidate"] < 0.48 < evaluation.metrics["category_rate"]
    assert evaluation.metrics["candidate"] < evaluation.metrics["own_rate"]


def test_bias_of_the_holdout_is_known_by_age_and_income(week_30, propensity, model):
    """Over the third of households with known values, shares of expected buyers match the rows, and no ratio is infinite."""
    built, _ = week_30
    _, baseline = evaluate(declaration.EVALUATION, inputs_of(built, propensity), "file:///baseline.json")
    assert {key.partition("/")[0] for key in baseline.bias} == {"age=65+", "income=Under 15K,15-24K"}
    expected = model.predict(model_input(built.holdout, model.signature)) > 0.5
    age = np.array(built.holdout["age"].to_pylist())
    old, known = age == "65+", age != np.array(None)
    difference = expected[known & ~old].mean() - expected[known & old].mean()
    assert baseline.bias["age=65+/DPPL"] == pytest.approx(difference, abs=1e-6)
    assert 0.01 < baseline.bias_deviation["age=65+/DPPL"] < 0.2
    assert baseline.quality["auc"] > 0.7
    assert all(abs(value) < 10 for value in baseline.bias.values())


def test_scorecard_is_refused(week_30):
    """A model that fails for households without purchases can be served, but the gate rejects it for those rows."""
    built, folder = week_30
    path = train(folder, "scorecard.py", "scorecard")
    load_folder(path, HERE).close()
    evaluation, gate = judged(built, path)
    assert evaluation.non_finite["candidate"] > 0.4 * evaluation.rows
    assert gate.verdict is GateVerdict.FAILED


def test_its_environment_is_of_the_repositorys_own_versions():
    """A synchronized machine downloads nothing for it."""
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    ours = {(package["name"], package["version"]) for package in locked}
    lines = declaration.REQUIREMENTS.read_text().splitlines()
    required = {tuple(line.split()[0].split("==")) for line in lines if "==" in line}
    assert {name for name, _ in required} > {"lightgbm", "numpy", "pandas", "pyarrow"}
    assert required - ours == set()
