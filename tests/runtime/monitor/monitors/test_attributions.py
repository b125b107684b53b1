"""SHAP values of real ONNX models, computed by the real package."""

import importlib
import sys

import numpy as np
import pytest
from tests.runtime import explain, kinds

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.monitor.monitors.attribution_ranking import AttributionError, compare
from mlops_runtime.monitor.monitors.attributions import (
    BACKGROUND_ROWS,
    ShapMissingError,
    background_rows,
    mean_absolute_shap,
)
from mlops_runtime.serving.onnx_model import load

NAMES = ["price", "stock", "store"]


@pytest.fixture
def model(models):
    """Return the model 2 x price + 0.5 x stock + 10 x store."""
    return load(models.onnx(), models.signature_json())


def test_a_linear_models_attributions_are_its_weights_times_the_distances(model):
    """The Shapley value of a linear model is its weight times (value - mean of the background)."""
    explain.require()
    random = np.random.default_rng(1)
    background = random.normal(0, 1, (20, 3)).astype(np.float32)
    rows = random.normal(1, 2, (30, 3)).astype(np.float32)
    found = mean_absolute_shap(model.predict, background, rows, NAMES, seed=3)
    expected = np.abs(np.array([2.0, 0.5, 10.0]) * (rows - background.mean(axis=0))).mean(axis=0)
    assert list(found) == NAMES
    assert list(found.values()) == pytest.approx(expected.tolist(), rel=1e-4)


def test_attributions_of_classes_are_the_mean_over_them():
    """Values are per class of the wines, and their mean over all classes."""
    explain.require()
    rows = kinds.matrix(kinds.wine(), kinds.wine_inputs())
    found = load(*kinds.files("classes"))

    def attributions(predict):
        return mean_absolute_shap(predict, rows[:10], rows[10:16], kinds.wine_inputs(), seed=3)

    each = [attributions(lambda matrix, place=place: found.predict(matrix)[:, place]) for place in range(3)]
    expected = {name: np.mean([of[name] for of in each]) for name in kinds.wine_inputs()}
    assert attributions(found.predict) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_the_same_seed_gives_the_same_values_and_leaves_numpys_generator_alone(model):
    """Nulls, which the model reads as 0, are included."""
    explain.require()
    random = np.random.default_rng(2)
    rows = random.normal(0, 1, (10, 3)).astype(np.float32)
    rows[::3, 1] = np.nan
    before = np.random.get_state()[1].tolist()
    first, second = (mean_absolute_shap(model.predict, rows[:5], rows, NAMES, seed=3) for _ in range(2))
    assert first == second
    assert np.random.get_state()[1].tolist() == before


def test_attributions_of_data_that_turn_the_ranking_round_are_a_violation(models):
    """Price hardly varied in training and stock hardly varies now, so the ranking is reversed."""
    explain.require()
    found = load(models.onnx((1.0, 1.0, 0.1)), models.signature_json())
    random = np.random.default_rng(4)

    def attributions(price, stock):
        scale = np.array([price, stock, 0.1])
        background, rows = (random.normal(0, 1, (n, 3)).astype(np.float32) * scale for n in (30, 60))
        return mean_absolute_shap(found.predict, background, rows, NAMES, seed=1)

    training, same, turned = attributions(5, 0.5), attributions(5, 0.5), attributions(0.5, 5)
    assert compare(training, same, 0.9).state.value == "OK"
    assert compare(training, turned, 0.9).ndcg < 0.9


def test_fails_when_shap_is_missing(monkeypatch):
    """The error names the package and the fix."""
    monkeypatch.setitem(sys.modules, "shap", None)
    one = np.ones((1, 1), dtype=np.float32)
    with pytest.raises(
        ShapMissingError, match=r"need the package 'shap', which this image lacks .* one of mlops image build explain"
    ):
        mean_absolute_shap(lambda m: m[:, 0], one, one, ["a"], seed=1)


def test_fails_when_shapes_do_not_fit():
    """Both matrices are checked."""
    with pytest.raises(AttributionError, match=r"background must have rows of 2 values, got shape \(1, 1\); rows must"):
        mean_absolute_shap(np.sum, np.ones((1, 1)), np.ones((0, 2)), ["a", "b"], seed=1)


def test_shap_is_not_imported_by_the_module():
    """The module does not import the package, which the function's zip does not contain."""
    importlib.import_module("mlops_runtime.monitor.monitors.attributions")
    assert not hasattr(sys.modules["mlops_runtime.monitor.monitors.attributions"], "shap")


def test_the_background_has_the_baselines_shares():
    """The background has the baseline's percentiles (or bins), nulls and named and other levels; a seed repeats it."""
    store = FeatureBaseline(name="store", type="category", levels=("b", "a"), counts=(600, 200, 100, 100))
    quantiles = tuple(float(i) for i in range(101))
    price = FeatureBaseline(name="price", type="number", edges=(50.0,), counts=(400, 400, 200), quantiles=quantiles)
    old = FeatureBaseline(name="old", type="number", edges=(1.0, 2.0), counts=(0, 700, 300, 0))
    empty = FeatureBaseline(name="empty", type="number", counts=(0, 1000))
    features = (price, store, old, empty)
    baseline = Baseline(features=features, rows=1000, training_set_id="t", created="2017-08-01T00:00:00Z")
    columns = [
        SignatureColumn(name=f.name, type=f.type, categories=("a", "b", "c", "d") if f.levels else ()) for f in features
    ]
    signature = ModelSignature(inputs=tuple(columns), output="units")
    rows = background_rows(baseline, signature, rows=20_000, seed=5)
    assert np.array_equal(rows, background_rows(baseline, signature, rows=20_000, seed=5), equal_nan=True)
    assert np.isnan(rows[:, 0]).mean() == pytest.approx(0.2, abs=0.01)
    assert np.nanmean(rows[:, 0]) == pytest.approx(50, abs=1)
    shares = {code: float((rows[:, 1] == code).mean()) for code in (-1, 0, 1, 2, 3)}
    assert shares == pytest.approx({-1: 0.1, 0: 0.2, 1: 0.6, 2: 0.05, 3: 0.05}, abs=0.01)
    assert np.unique(rows[:, 2]).tolist() == [1.0, 2.0]
    assert (rows[:, 2] == 1).mean() == pytest.approx(0.7, abs=0.01)
    assert np.isnan(rows[:, 3]).all()
    assert background_rows(baseline, signature, seed=5).shape == (BACKGROUND_ROWS, 4)
    with pytest.raises(AttributionError, match=r"must be the model's inputs \['store'\], got \['price', 'store'"):
        background_rows(baseline, ModelSignature(inputs=(columns[1],), output="units"), seed=1)
