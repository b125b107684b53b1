"""Mean absolute SHAP values of a model's features, by the package ``shap``, which only the job's image has.

Background rows are sampled from the baseline, so that training and live data are explained against the same background, and jobs
need no rows of the training set.
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
_PERMUTATIONS = 4  # each forward and backward; the mean over rows reduces their noise


class ShapMissingError(AttributionError):
    """The package ``shap`` is not installed."""


def attributions(model: "ServedModel", baseline: Baseline, rows: Numbers) -> dict[str, float]:
    """Return the attribution of each of a model's inputs over rows, for a baseline or for a window.

    Deterministic for the same model, baseline and rows, with the same background for the holdout and for live data.

    Args:
        baseline: The model's baseline.
        rows: Rows to explain in the model's encoding, shape (n, inputs).

    Raises:
        AttributionError: See `mean_absolute_shap` and `background_rows`.

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
    """Return each feature's mean absolute SHAP value over rows, in the unit of the prediction; the mean over classes, if any.

    Shapley values are estimated over seeded permutations, each forward and backward, so that the values of a row add up to its
    prediction minus the background's mean. The permutation method needs only the model's predictions.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-shapley-values.html and
    https://shap.readthedocs.io/en/latest/generated/shap.PermutationExplainer.html

    Args:
        predict: Returns the model's predictions, one for each row of a matrix.
        background: Rows that represent the absence of features, shape (b, features).
        rows: Rows to explain, shape (n, features); NaN is null.
        names: Names of the features, in the order of the columns.
        seed: Seed of the permutations.

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
    state = np.random.get_state()  # the explainer seeds numpy's global generator
    try:
        explainer = shap.explainers.Permutation(
            predict, shap.maskers.Independent(background.astype(np.float64), max_samples=len(background)), seed=seed
        )
        evaluations = _PERMUTATIONS * (2 * len(names) + 1)
        values = explainer(rows.astype(np.float64), max_evals=evaluations, silent=True).values
    finally:
        np.random.set_state(state)
    means = np.abs(np.asarray(values, dtype=np.float64)).mean(axis=0)
    if means.ndim == 2:  # one column a class
        means = means.mean(axis=1)
    return dict(zip(names, means.tolist(), strict=True))


def background_rows(
    baseline: Baseline, signature: ModelSignature, *, rows: int = BACKGROUND_ROWS, seed: int
) -> Numbers:
    """Return rows in the model's encoding, with each column sampled independently from its feature's baseline.

    Numbers are percentiles of the baseline, or edges of its bins without percentiles; categories are its levels. Levels that the
    baseline counts together are sampled from the model's other categories.

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
        # a bin is represented by its lower edge, the first bin by its upper edge
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
            "one of mlops image build explain, or request no attribution rows"
        ) from error
