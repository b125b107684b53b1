"""The unit's declaration matches its data, and the gate decides correctly on models of its training scripts."""

import hashlib
import itertools

import numpy as np
import pytest
from examples.retail.dynamic_pricing import data, declaration
from examples.retail.dynamic_pricing.features import GROUPS, INPUTS
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
def elasticity(week_30):
    """Return the folder of the model trained on the set."""
    return train(week_30[1], "train.py", "one")


@pytest.fixture(scope="module")
def predicted(week_30, elasticity):
    """Return the model, and a function that predicts units of every holdout row with a changed column."""
    model = load_directory(elasticity)
    matrix = model_input(week_30[0].holdout, model.signature)
    names = [column.name for column in model.signature.inputs]

    def units(column: str = "planned_price", change=lambda values: values):
        changed = matrix.copy()
        changed[:, names.index(column)] = change(changed[:, names.index(column)])
        return model.predict(changed)

    return units


def judged(built, folder):
    """Return evaluation and gate result of a model."""
    inputs = Inputs(train=built.train, holdout=built.holdout, manifest=built.manifest, candidate=archive_of(folder))
    evaluation, _ = evaluate(declaration.EVALUATION, inputs, "file:///baseline.json")
    return evaluation, evaluate_gate(evaluation, declaration.GATE, uri="file:///evaluation.json", sha256="0" * 64)


def test_lock_covers_the_groups():
    """The lock file in git matches the groups' declarations."""
    FeatureLock.read(declaration.LOCK_FILE).check(GROUPS)


def test_holdout_rows_are_the_live_requests(week_30):
    """Weeks 27-30 are held out; the store returns for week 30 what a client sends."""
    built, _ = week_30
    assert sorted(set(built.holdout["week"].to_pylist())) == [27, 28, 29, 30]
    key = [("store_id", "ascending"), ("product_group", "ascending")]
    held = [row for row in built.holdout.sort_by(key).to_pylist() if row["week"] == 30]
    live = data.series_of(30).sort_by(key).to_pylist()
    assert [{name: row[name] for name in INPUTS} for row in held] == [
        {name: row[name] for name in INPUTS} for row in live
    ]


def test_the_script_is_deterministic(week_30, elasticity):
    """Same rows give the same bytes, with the columns of live requests."""
    again = train(week_30[1], "train.py", "two")
    digests = {hashlib.sha256((path / "model.onnx").read_bytes()).hexdigest() for path in (elasticity, again)}
    assert len(digests) == 1
    assert {column.name for column in load_directory(elasticity).signature.inputs} == set(INPUTS)


def test_a_higher_price_never_sells_more(predicted):
    """For every row of the holdout units never increase with the price; in total they fall considerably."""
    sold = [predicted(change=lambda price, factor=factor: price * factor) for factor in np.linspace(0.6, 1.5, 19)]
    for cheaper, dearer in itertools.pairwise(sold):
        assert (dearer <= cheaper * (1 + 1e-5)).all()
    assert sold[0].sum() > 1.2 * predicted().sum()
    assert sold[-1].sum() < 0.9 * predicted().sum()
    assert min(units.min() for units in sold) >= 0


@pytest.mark.parametrize("column", ["planned_discount", "display_share", "mailer_share"])
def test_a_promotion_never_sells_less(predicted, column):
    """A deeper discount, a display or a mailer decreases units in no row of the holdout."""
    assert (predicted(column, lambda share: np.minimum(share + 0.2, 1)) >= predicted() * (1 - 1e-5)).all()


def test_model_beats_the_baselines_and_passes_the_gate(week_30, elasticity):
    """Its WAPE is below those of all three naive forecasts; promotion weeks are a separate segment."""
    evaluation, gate = judged(week_30[0], elasticity)
    assert gate.verdict is GateVerdict.PASSED, gate.reason
    assert evaluation.metrics["candidate"] < 0.95 * min(
        evaluation.metrics[name] for name in declaration.EVALUATION.baselines
    )
    assert {segment.name for segment in evaluation.segments or ()} == {"on_promotion=0", "on_promotion=1"}


def test_log_log_curve_is_refused(week_30):
    """A model that fails for weeks without sales can be served, but the gate rejects it for those rows."""
    built, folder = week_30
    path = train(folder, "loglog.py", "loglog")
    model = load_directory(path)
    model.predict(np.ones((2, len(model.signature.inputs)), dtype=np.float32))
    evaluation, gate = judged(built, path)
    assert evaluation.non_finite["candidate"] > 100
    assert gate.verdict is GateVerdict.FAILED
