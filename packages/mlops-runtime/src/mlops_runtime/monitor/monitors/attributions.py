"""Mean absolute SHAP values of a model's features, with the ``shap`` package: in the image of the job alone.

The rows that features are compared with are drawn from the baseline, so that training and live data are explained against the
same background, and a job needs no row of the training set.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.monitor.counting.baseline_cells import Numbers
from mlops_runtime.monitor.monitors.attribution_ranking import AttributionError

if TYPE_CHECKING:
    from mlops_runtime.serving.served_model import ServedModel

BACKGROUND_ROWS = 50
_SEED = 7
_PERMUTATIONS = 4  # forward and backward each; the mean over rows evens out what few leave


class ShapMissingError(AttributionError):
    """This Python has no ``shap``."""


def attributions(model: "ServedModel", baseline: Baseline, rows: Numbers) -> dict[str, float]:
    """Return the attribution of each of a model's inputs over rows: what a baseline holds, and what a window is compared by.

    The same model, baseline and rows give the same values, with the same background for the holdout and for live data.

    Args:
        model: The model.
        baseline: Its baseline.
        rows: Rows to explain as the model sees them, shape (n, inputs).

    Raises:
        AttributionError: As `mean_absolute_shap` and `background_rows`.

    Example:
        >>> attributions(model, baseline, rows)  # doctest: +SKIP
        {'price': 3.1, 'promotion': 0.4}
    """
    names = [column.name for column in model.signature.inputs]
    background = background_rows(baseline, model.signature, seed=_SEED)
    return mean_absolute_shap(model.predict, background, rows, names, seed=_SEED)


def mean_absolute_shap(
    predict: Callable[[Numbers], Numbers], background: Numbers, rows: Numbers, names: Sequence[str], *, seed: int
) -> dict[str, float]:
    """Return each feature's mean absolute SHAP value over rows, in the unit of the prediction; of classes the mean over them.

    Shapley values are estimated over seeded permutations, each forward and backward, so that those of a row add up to how far its
    prediction is from the background's mean. Permutations are used since they need the model's predictions alone.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-shapley-values.html and
    https://shap.readthedocs.io/en/latest/generated/shap.PermutationExplainer.html

    Args:
        predict: The model: one prediction a row of a matrix.
        background: Rows that stand for a feature's absence, shape (b, features).
        rows: Rows to explain, shape (n, features); NaN is null.
        names: The features, in the order of the columns.
        seed: The same seed gives the same values.

    Raises:
        ShapMissingError: If the package ``shap`` cannot be imported.
        AttributionError: With every problem of the shapes.

    Example:
        >>> ones = np.ones((1, 2), dtype=np.float32)
        >>> mean_absolute_shap(lambda m: m @ [3, 1], ones * 0, ones, ["a", "b"], seed=1)  # doctest: +SKIP
        {'a': 3.0, 'b': 1.0}
    """
    problems = [
        f"{what} must have rows of {len(names)} values, got shape {matrix.shape}"
        for what, matrix in (("background", background), ("rows", rows))
        if matrix.ndim != 2 or matrix.shape[1] != len(names) or not len(matrix)
    ]
    if problems:
        raise AttributionError("; ".join(problems))
    shap = _shap()
    state = np.random.get_state()  # the explainer seeds numpy's global generator; others' draws must not depend on it
    try:
        explainer = shap.explainers.Permutation(
            predict,
            shap.maskers.Independent(background.astype(np.float64), max_samples=len(background)),
            seed=seed,
        )
        evaluations = _PERMUTATIONS * (2 * len(names) + 1)
        values = explainer(rows.astype(np.float64), max_evals=evaluations, silent=True).values
    finally:
        np.random.set_state(state)
    means = np.abs(np.asarray(values, dtype=np.float64)).mean(axis=0)
    if means.ndim == 2:  # a column for each class: the mean over classes
        means = means.mean(axis=1)
    return dict(zip(names, means.tolist(), strict=True))


def background_rows(
    baseline: Baseline, signature: ModelSignature, *, rows: int = BACKGROUND_ROWS, seed: int
) -> Numbers:
    """Return rows as the model sees them, each column drawn from its feature's baseline, independently of the others.

    Numbers are percentiles of the baseline, or edges of its bins where it has none; categories are its levels. Levels that it does
    not name are drawn from the model's other categories.

    Raises:
        AttributionError: If the baseline's features are not the model's inputs.

    Example:
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(0, 5, 0))
        >>> baseline = Baseline(features=(price,), rows=5, training_set_id="t", created="2017-08-01T00:00:00Z")
        >>> model = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")
        >>> background_rows(baseline, model, rows=2, seed=1).tolist()
        [[2.0], [2.0]]
    """
    given, wanted = ([each.name for each in columns] for columns in (baseline.features, signature.inputs))
    if given != wanted:
        raise AttributionError(f"the baseline's features must be the model's inputs {wanted}, got {given}")
    random = np.random.default_rng(seed)
    columns = [
        _levels(feature, column, rows, random) if column.type == "category" else _numbers(feature, rows, random)
        for feature, column in zip(baseline.features, signature.inputs, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _numbers(feature: FeatureBaseline, rows: int, random: np.random.Generator) -> Any:
    null = feature.counts[-1] / max(1, sum(feature.counts))
    if feature.quantiles:
        drawn = random.choice(np.array(feature.quantiles), rows)
    elif feature.edges:
        # a bin is stood for by its lower edge, the first by the edge above it
        share = np.array(feature.counts[:-1], dtype=np.float64)
        bins = random.choice(len(share), rows, p=share / share.sum()) if share.any() else np.zeros(rows, dtype=np.int64)
        drawn = np.array(feature.edges)[np.maximum(bins - 1, 0)]
    else:
        drawn = np.full(rows, np.nan)
    return np.where(random.random(rows) < null, np.nan, drawn)


def _levels(feature: FeatureBaseline, column: SignatureColumn, rows: int, random: np.random.Generator) -> Any:
    position = {category: code for code, category in enumerate(column.categories)}
    named = [position.get(level, -1) for level in feature.levels]
    others = [code for category, code in position.items() if category not in feature.levels] or [-1]
    share = np.array(feature.counts, dtype=np.float64)
    share = share / share.sum() if share.any() else np.full(len(share), 1 / len(share))
    cells = random.choice(len(share), rows, p=share)
    codes = np.where(cells == len(share) - 1, -1, random.choice(others, rows))
    for cell, code in enumerate(named):
        codes[cells == cell] = code
    return codes


def _shap() -> Any:
    try:
        return importlib.import_module("shap")
    except ImportError as error:
        raise ShapMissingError(
            f"attributions need the package 'shap', which this image lacks ({error}); run the job in an image that has it, such as "
            "mlops image build explain makes, or ask for no attribution rows"
        ) from error
