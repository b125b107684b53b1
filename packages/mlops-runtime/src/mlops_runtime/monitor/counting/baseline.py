"""Fit a baseline to a training split or to live weeks: features, null patterns, pairs, strata, predictions.

numpy only. `mlops_runtime.monitor.counting.counts` counts live rows and merges counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, Condition, FeatureBaseline, PairBaseline
from mlops_runtime.monitor.counting import conditions as row_conditions
from mlops_runtime.monitor.counting import pairs as feature_pairs
from mlops_runtime.monitor.counting.baseline_cells import (
    DECLARED,
    NULL_PATTERNS,
    Coded,
    Column,
    LevelCells,
    Mask,
    edges_of,
    finite_numbers,
    null_patterns,
    number_cells,
    one_length,
    to_numbers,
)
from mlops_runtime.monitor.counting.conditions import Times
from mlops_runtime.monitor.counting.dispersion import Codes, cluster_hours
from mlops_runtime.monitor.counting.feature_baseline import (
    BaselineError,
    category_baseline,
    fit_category,
    fit_number,
    is_closed,
    number_baseline,
)
from mlops_runtime.monitor.counting.tally import Grid, WindowTally

__all__ = [
    "BaselineError",
    "Codes",
    "Predicted",
    "Type",
    "category_baseline",
    "cluster_codes",
    "fit_baseline",
    "number_baseline",
]

PREDICTION = "prediction"

Type = Literal["number", "category"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Predictions of other rows than those of the baseline's columns: of the holdout."""

    # one prediction a row; values that are not finite are null. With `classes` the predicted class, with `outputs` an
    # array of shape (rows, outputs)
    values: Column
    clusters: Codes | None = None  # code of each row's cluster. Default: rows are independent
    columns: Mapping[str, Column] | None = None  # columns of the conditions. Default: the rows have no stratum
    times: Times | None = None  # each row's time, UTC. Default: unknown
    classes: tuple[str, ...] | None = None  # class names of a multiclass model. Default: predictions are numbers
    # output names of a model with several numeric outputs. Default: one number a row
    outputs: tuple[str, ...] | None = None

    def each(self) -> list[Column]:
        """Return one column a baseline of predictions: one, or one an output."""
        if self.classes is not None:
            return [self.values]
        if self.outputs is not None:
            return [finite_numbers(np.asarray(self.values)[:, place]) for place in range(len(self.outputs))]
        return [finite_numbers(self.values)]


def fit_baseline(
    columns: Mapping[str, Column],
    *,
    types: Mapping[str, Type],
    training_set_id: str,
    created: str,
    clusters: Codes | None = None,
    times: Times | None = None,
    conditions: Sequence[Condition] = (),
    pairs: Sequence[Sequence[str]] = (),
    identifiers: Sequence[str] = (),
    closed_levels: Sequence[str] = (),
    prediction: Column | Predicted | None = None,
    source: Literal["training", "live"] = "training",
) -> Baseline:
    """Return the baseline of columns of rows; ``dataclasses.replace`` adds quality, segments, facets and bias.

    Args:
        columns: Values by column name: numbers as arrays, text as `Coded`, array or list; all of the same length.
        types: Type of each of the model's inputs, in the model's order.
        training_set_id: Training set of the rows.
        created: Time as of which the rows were known, ISO 8601.
        clusters: Code of each row's cluster of correlated rows (a household, a day). Default: rows are independent.
        times: Prediction time of each row, UTC. Default: unknown.
        conditions: Conditions by whose strata live rows are compared. Default: none.
        pairs: Pairs of features whose contingency table is stored, with conditions also by stratum, up to 20,000 counts.
            Default: none.
        identifiers: Columns that are unique identifiers, besides those that are recognised. Default: none.
        closed_levels: Columns of text that may have no new levels, besides those that `feature_baseline.is_closed` recognises.
            Default: none.
        prediction: Predictions of the same rows, or of others. Default: none.
        source: Source of the rows.

    Raises:
        BaselineError: With all inputs without a column, columns of different lengths, identifiers and closed levels that are not
            inputs, and values that do not have their column's type. Infinite numbers are allowed and counted separately.
        ConditionError: See `conditions.check`, `conditions.check_clusters` and `conditions.strata_of`.
        PairError: If a pair is not two different inputs.

    Example:
        >>> baseline = fit_baseline(
        ...     {"price": np.array([1.0, 2.0, 2.0]), "store": ["a", "b", "b"]},
        ...     types={"price": "number", "store": "category"},
        ...     training_set_id="t",
        ...     created="2017-08-01T00:00:00Z",
        ... )
        >>> baseline.features[1].levels, baseline.rows
        (('b', 'a'), 3)
    """
    rows = _check(columns, types, clusters, times, identifiers=identifiers, closed_levels=closed_levels)
    later = _later_half(times)
    row_conditions.check(conditions, types, times)
    feature_pairs.check(pairs, list(types))
    keys = row_conditions.strata_of(conditions, types, columns, times, rows) if conditions else []
    find = row_conditions.RowKeys(conditions, types, keys).find
    strata = find(columns, times, rows) if conditions else None
    if strata is not None and clusters is not None:
        row_conditions.check_clusters(conditions, clusters, strata)
    features: dict[str, FeatureBaseline] = {}
    left_out: dict[str, str] = {}
    masks: list[tuple[str, Mask | None]] = []
    read: dict[str, Column] = {}  # columns needed again below: all with conditions, else those of pairs
    paired = {name for pair in pairs for name in pair}
    problems: list[str] = []
    for name, kind in types.items():
        fit = fit_number if kind == "number" else fit_category
        try:
            declared = DECLARED if name in identifiers else None
            fitted = fit(name, columns[name], clusters, declared, strata=strata)
        except BaselineError as error:
            problems.append(str(error))
            continue
        features[name] = fitted.feature
        if isinstance(fitted.values, Coded) and fitted.identifier is None:
            closed = name in closed_levels or is_closed(fitted.feature, fitted.values, later)
            features[name] = replace(fitted.feature, closed=closed)
        masks.append((name, fitted.nulls))
        if conditions or name in paired:
            read[name] = fitted.values
        if fitted.identifier is not None:
            left_out[name] = fitted.identifier
    if problems:
        raise BaselineError("; ".join(problems))
    codes, names = null_patterns(masks, rows)
    baseline = Baseline(
        features=tuple(features.values()),
        rows=rows,
        training_set_id=training_set_id,
        created=created,
        source=source,
        left_out=left_out or None,
        conditions=tuple(conditions) or None,
        null_patterns=category_baseline(NULL_PATTERNS, Coded(codes, names), clusters=clusters, strata=strata),
        pairs=_pairs(pairs, features, read, clusters, strata),
        cluster_hours=None if clusters is None or times is None else cluster_hours(clusters, times),
    )
    predicted = _predicted(prediction, read, clusters, times)
    if predicted is not None:
        given = None
        if predicted.columns is not None and conditions:
            given = find(predicted.columns, predicted.times, len(predicted.values))
        baseline = _with_predictions(baseline, predicted, given)
    return _stratified(baseline, keys, read, times, predicted) if conditions else baseline


def _with_predictions(baseline: Baseline, predicted: Predicted, strata: Codes | None) -> Baseline:
    columns, rows = predicted.each(), {"clusters": predicted.clusters, "strata": strata}
    if predicted.classes is not None:
        of_class = category_baseline(PREDICTION, columns[0], **rows)
        return replace(baseline, prediction=of_class, classes=predicted.classes)
    if predicted.outputs is not None:
        of_outputs = tuple(
            number_baseline(f"{PREDICTION}/{name}", column, **rows)
            for name, column in zip(predicted.outputs, columns, strict=True)
        )
        return replace(baseline, predictions=of_outputs, outputs=predicted.outputs)
    return replace(baseline, prediction=number_baseline(PREDICTION, columns[0], **rows))


def cluster_codes(values: Sequence[Any]) -> Codes:
    """Return a code for each value of the cluster column, the same for equal values."""
    return np.unique(np.array([str(value) for value in values]), return_inverse=True)[1].astype(np.int64)


def _check(
    columns: Mapping[str, Column],
    types: Mapping[str, Type],
    clusters: Codes | None,
    times: Times | None,
    *,
    identifiers: Sequence[str],
    closed_levels: Sequence[str],
) -> int:
    problems = [f"input {name!r} has no column" for name in types if name not in columns]
    problems += [f"identifier {name!r} is not an input of the model" for name in identifiers if name not in types]
    problems += [
        f"closed_levels must name inputs of text, got {name!r}"
        for name in closed_levels
        if types.get(name) != "category"
    ]
    given = {name: columns[name] for name in types if name in columns}
    given |= {} if clusters is None else {"clusters": clusters}
    given |= {} if times is None else {"times": times}
    rows, problem = one_length(given)
    problems += [] if problem is None else [problem]
    if problems:
        raise BaselineError("; ".join(problems))
    return rows


def _later_half(times: Times | None) -> Mask | None:
    """Return which rows are in the second half of the rows' time span; None if no time is known."""
    if times is None or np.isnat(times).all():
        return None
    known = times[~np.isnat(times)]
    first, last = known.min(), known.max()
    return np.asarray(times > first + (last - first) / 2, dtype=np.bool_)


def _pairs(
    pairs: Sequence[Sequence[str]],
    features: Mapping[str, FeatureBaseline],
    columns: Mapping[str, Column],
    clusters: Codes | None,
    strata: Codes | None,
) -> tuple[PairBaseline, ...] | None:
    cells = {}
    for name in {name for pair in pairs for name in pair}:
        feature, values = features[name], columns[name]
        of_text = feature.type == "category"
        cells[name] = LevelCells(feature).of(values) if of_text else number_cells(to_numbers(values), edges_of(feature))
    return feature_pairs.pair_baselines(pairs, features, cells, clusters, strata) or None


def _predicted(
    prediction: Column | Predicted | None, columns: Mapping[str, Column], clusters: Codes | None, times: Times | None
) -> Predicted | None:
    if prediction is None or isinstance(prediction, Predicted):
        return prediction
    return Predicted(values=prediction, clusters=clusters, columns=columns, times=times)


def _stratified(
    baseline: Baseline,
    keys: Sequence[str],
    columns: Mapping[str, Column],
    times: Times | None,
    predicted: Predicted | None,
) -> Baseline:
    """Return the baseline with the counts of its strata, by the code that counts live rows."""
    grid = Grid(baseline, strata=keys)
    window = WindowTally(grid)
    window.add(columns, baseline.rows, times)
    if predicted is not None and grid.keys is not None:
        rows = len(predicted.values)
        groups = None if predicted.columns is None else grid.keys.find(predicted.columns, predicted.times, rows)
        window.add_predictions(predicted.each(), groups)
    return replace(baseline, strata=window.strata())
