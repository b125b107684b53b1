"""Build a baseline from a training split or from live weeks: quantile bins, mass points, levels, over-dispersion, strata, pairs.

numpy only. The bins are made once; live data are only counted into them, so counts of any parts of a window add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import Baseline, Condition, FeatureBaseline, PairBaseline
from mlops_runtime.monitor import conditions as row_conditions
from mlops_runtime.monitor import pairs as feature_pairs
from mlops_runtime.monitor.cells import (
    Cells,
    Coded,
    Column,
    LevelCells,
    Numbers,
    edges_of,
    level_crc,
    number_cells,
    to_coded,
    to_numbers,
)
from mlops_runtime.monitor.conditions import Times
from mlops_runtime.monitor.dispersion import design_effects, mean_design_effect, unseen_share
from mlops_runtime.monitor.identifiers import DECLARED, number_identifier, text_identifier
from mlops_runtime.monitor.null_patterns import NAME as NULL_PATTERNS
from mlops_runtime.monitor.null_patterns import Mask, null_patterns
from mlops_runtime.monitor.tally import Grid, WindowTally

BINS = 10
LEVELS = 20
PREDICTION = "prediction"
# cells of the levels that are not among the most frequent: few where there are few
_TAILS = ((0, 0), (32, 32))
_TAIL = 64
# CRC-32s of levels that are kept, to tell a new level from a rare one
_MAXIMUM_KNOWN = 10_000
# longer levels, and those that UTF-8 does not have, are of the tail
_MAXIMUM_NAME = 256
# the edge above the largest 32-bit float: 2^128
_ABOVE_ALL = 2.0**128

Codes = npt.NDArray[np.int64]
Type = Literal["number", "category"]


class BaselineError(ValueError):
    """A baseline cannot be made of the columns; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Predictions of rows that are not those of the baseline's columns: a holdout's.

    Args:
        values: One a row; what is not finite is null.
        clusters: Code of each row's cluster. Default: rows are taken for independent.
        columns: What the conditions look at. Default: the rows are of no stratum.
        times: Each row's time, UTC. Default: unknown.
    """

    values: Column
    clusters: Codes | None = None
    columns: Mapping[str, Column] | None = None
    times: Times | None = None


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
    prediction: Column | Predicted | None = None,
    source: Literal["training", "live"] = "training",
) -> Baseline:
    """Return the baseline of columns of rows; ``dataclasses.replace`` adds quality, segments, facets and bias.

    Args:
        columns: Values by the name of their column: arrays of numbers, text as `Coded`, an array or a list; all of one length.
        types: Type of each of the model's inputs, in their order.
        training_set_id: What the rows come from.
        created: When the rows were known, ISO 8601.
        clusters: Code of each row's cluster (a household, a day), whose rows vary together. Default: rows are independent.
        times: When each row was predicted, UTC. Default: unknown.
        conditions: What live rows are compared given. Default: nothing.
        pairs: Pairs of features whose joint table is kept. Default: none.
        identifiers: Columns that are unique identifiers; others are recognised. Default: none is declared.
        prediction: Predictions of the same rows, or of others. Default: none.
        source: Where the rows come from.

    Raises:
        BaselineError: With every input that has no column, columns of other lengths, identifiers that are no inputs, infinite
            values.
        ConditionError: As `conditions.check` and `conditions.strata_of` say.
        PairError: If a pair is not of two of the inputs.

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
    rows = _check(columns, types, identifiers, clusters, times)
    row_conditions.check(conditions, types, times)
    feature_pairs.check(pairs, list(types))
    features: dict[str, FeatureBaseline] = {}
    left_out: dict[str, str] = {}
    masks: list[tuple[str, Mask | None]] = []
    read: dict[str, Column] = {}
    problems: list[str] = []
    for name, kind in types.items():
        fit = _number if kind == "number" else _category
        try:
            fitted = fit(name, columns[name], clusters, DECLARED if name in identifiers else None)
        except BaselineError as error:
            problems.append(str(error))
            continue
        features[name] = fitted.feature
        masks.append((name, fitted.nulls))
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
        null_patterns=category_baseline(NULL_PATTERNS, Coded(codes, names), clusters=clusters),
        pairs=_pairs(pairs, features, read, clusters),
    )
    predicted = _predicted(prediction, read, clusters, times)
    if predicted is not None:
        finite = np.where(np.isfinite(numbers := to_numbers(predicted.values)), numbers, np.float32(np.nan))
        predicted = replace(predicted, values=finite)
        baseline = replace(baseline, prediction=number_baseline(PREDICTION, finite, clusters=predicted.clusters))
    return _stratified(baseline, types, read, times, predicted) if conditions else baseline


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A feature's baseline, its column as it was read, which rows are null, and why it is an identifier."""

    feature: FeatureBaseline
    values: Column
    nulls: Mask | None
    identifier: str | None


def number_baseline(name: str, values: Column, *, clusters: Codes | None = None) -> FeatureBaseline:
    """Return the baseline of a numeric feature.

    The inner edges are the values' deciles. A value that holds a tenth or more of the rows (a default) gets a bin of its own: its
    share may drift while all quantiles stay. So does zero, whenever it lies in the range: what is zero today may not be tomorrow.
    The two outer bins hold what lies outside the range. Without any known value there is one bin.

    Args:
        name: The feature's name.
        values: One value a row; NaN is null.
        clusters: Code of each row's cluster, for the over-dispersion. Default: rows are taken for independent.

    Raises:
        BaselineError: If a value is infinite or no number.

    Example:
        >>> number_baseline("units", np.array([0, 0, 0, 5, 9, np.nan], dtype=np.float32)).counts
        (0, 3, 0, 1, 0, 1, 0, 1)
    """
    return _number(name, values, clusters, None, recognise=False).feature


def category_baseline(name: str, values: Column, *, clusters: Codes | None = None) -> FeatureBaseline:
    """Return the baseline of a categorical feature: its twenty most frequent levels, cells of the other levels, new, null.

    Args:
        name: The feature's name.
        values: One level a row; None, NaN and the empty text are null.
        clusters: As in `number_baseline`.

    Raises:
        BaselineError: If a value is neither text nor null.

    Example:
        >>> category_baseline("store", ["b", "a", "b", None]).counts
        (2, 1, 0, 1)
    """
    return _category(name, values, clusters, None, recognise=False).feature


def cluster_codes(values: Sequence[Any]) -> Codes:
    """Return a code for each value of the cluster column, the same for equal values."""
    return np.unique(np.array([str(value) for value in values]), return_inverse=True)[1].astype(np.int64)


def _check(
    columns: Mapping[str, Column],
    types: Mapping[str, Type],
    identifiers: Sequence[str],
    clusters: Codes | None,
    times: Times | None,
) -> int:
    """Return the number of rows."""
    problems = [f"input {name!r} has no column" for name in types if name not in columns]
    problems += [f"identifier {name!r} is no input of the model" for name in identifiers if name not in types]
    sizes = {name: _size(columns[name]) for name in types if name in columns}
    sizes |= {} if clusters is None else {"clusters": len(clusters)}
    sizes |= {} if times is None else {"times": len(times)}
    if len(set(sizes.values())) > 1:
        problems.append(f"columns must have one length, got {', '.join(f'{n!r} of {s}' for n, s in sizes.items())}")
    if problems:
        raise BaselineError("; ".join(problems))
    return next(iter(sizes.values()), 0)


def _size(values: Column) -> int:
    return len(values.codes) if isinstance(values, Coded) else len(values)


def _number(
    name: str, values: Column, clusters: Codes | None, identifier: str | None, *, recognise: bool = True
) -> _Fitted:
    numbers = to_numbers(values)
    is_finite = np.isfinite(numbers)
    is_whole = bool(is_finite.all())
    nulls = None if is_whole else np.isnan(numbers)
    ordered = np.sort(numbers if is_whole else numbers[is_finite])
    null = 0 if nulls is None else int(nulls.sum())
    if (infinite := len(numbers) - len(ordered) - null) > 0:
        raise BaselineError(
            f"feature {name!r} must be finite or null in the training split, got {infinite} infinite values"
        )
    reason = identifier or (number_identifier(values, ordered) if recognise else None)
    if reason is not None:
        return _Fitted(FeatureBaseline(name=name, type="number", counts=(len(ordered), null)), numbers, nulls, reason)
    edges = _edges(ordered)
    with np.errstate(over="ignore"):
        below = np.searchsorted(ordered, edges.astype(np.float32), side="left")
    counts = np.diff(below, prepend=0, append=len(ordered)).tolist()
    wide = ordered.astype(np.float64)
    feature = FeatureBaseline(
        name=name,
        type="number",
        counts=(*counts, null),
        edges=tuple(edges.tolist()),
        mean=float(wide.mean()) if len(wide) else None,
        standard_deviation=float(wide.std()) if len(wide) else None,
        bounded=True,
        quantiles=_percentiles(wide),
    )
    if clusters is not None:
        feature = _dispersed(feature, number_cells(numbers, edges_of(feature)), clusters)
        feature = replace(feature, mean_overdispersion=mean_design_effect(numbers.astype(np.float64), clusters))
    return _Fitted(feature, numbers, nulls, None)


def _category(
    name: str, values: Column, clusters: Codes | None, identifier: str | None, *, recognise: bool = True
) -> _Fitted:
    coded, invalid = to_coded(values)
    if invalid:
        raise BaselineError(f"feature {name!r} must be text or null in the training split, got {invalid} other values")
    found = np.bincount(coded.codes + 1, minlength=len(coded.levels) + 1)
    null, rows = int(found[0]), found[1:]
    nulls = coded.codes < 0 if null else None
    reason = identifier or (text_identifier(coded) if recognise else None)
    if reason is not None:
        return _Fitted(
            FeatureBaseline(name=name, type="category", counts=(int(rows.sum()), null)), coded, nulls, reason
        )
    names = [level if _is_name(level) else None for level in coded.levels]
    # most frequent first, ties by name: the same data give the same baseline
    order = sorted(
        (code for code in _frequent(rows) if names[code]), key=lambda code: (-rows[code], coded.levels[code])
    )
    levels = tuple(coded.levels[code] for code in order[:LEVELS])
    rest = sorted(set(np.flatnonzero(rows).tolist()) - set(order[:LEVELS]))
    tail = next((cells for most, cells in _TAILS if len(rest) <= most), _TAIL)
    feature = FeatureBaseline(
        name=name,
        type="category",
        counts=(0,) * (len(levels) + tail + 2),
        levels=levels,
        tail=tail,
        known=tuple(sorted({level_crc(coded.levels[code]) for code in rest})) if len(rest) <= _MAXIMUM_KNOWN else None,
        unseen_share=unseen_share(coded.codes, clusters),
    )
    cells = LevelCells(feature)
    of_level = np.array([*map(cells.__getitem__, coded.levels), cells.size - 1], dtype=np.int64)
    counts = np.bincount(of_level, weights=np.append(rows, null), minlength=cells.size).astype(np.int64)
    feature = replace(feature, counts=tuple(counts.tolist()))
    if clusters is not None:
        feature = _dispersed(feature, of_level[coded.codes], clusters)
    return _Fitted(feature, coded, nulls, None)


def _frequent(rows: Codes) -> list[int]:
    """Return the codes of the levels that may be among the most frequent, some more where some have the same number of rows."""
    present = np.flatnonzero(rows)
    # names that are no names are passed over, so that more are looked at than are kept
    if len(present) > 8 * LEVELS:
        least = np.partition(rows[present], -4 * LEVELS)[-4 * LEVELS]
        present = present[rows[present] >= least]
    found: list[int] = present.tolist()
    return found


def _is_name(level: str) -> bool:
    if len(level) > _MAXIMUM_NAME:
        return False
    try:
        level.encode()
    except UnicodeEncodeError:
        return False
    return True


def _dispersed(feature: FeatureBaseline, cells: Cells, clusters: Codes) -> FeatureBaseline:
    effects = design_effects(cells, len(feature.counts), clusters)
    return replace(
        feature,
        overdispersion=effects.mean,
        overdispersion_spread=effects.spread,
        cell_overdispersion=effects.cells,
        cluster_rows=effects.rows,
        cluster_excess=effects.excess,
    )


def _edges(ordered: Numbers) -> npt.NDArray[np.float64]:
    """Return the edges of the bins of sorted values: deciles, values with a bin of their own, zero, and both ends."""
    rows = len(ordered)
    if rows == 0:
        return np.empty(0)
    deciles = ordered[-(-rows * np.arange(1, BINS) // BINS) - 1]
    # a run of a tenth of the rows covers one of these places
    step = -(-rows // BINS)
    some = np.unique(ordered[::step])
    runs = np.searchsorted(ordered, some, side="right") - np.searchsorted(ordered, some, side="left")
    alone = some[runs * BINS >= rows]
    if ordered[0] <= 0 <= ordered[-1]:
        alone = np.append(alone, np.float32(0))
    with np.errstate(over="ignore"):
        above = np.nextafter(np.append(alone, ordered[-1]), np.float32(np.inf)).astype(np.float64)
    edges = np.concatenate([ordered[:1], deciles, alone, above]).astype(np.float64)
    return np.unique(np.where(np.isinf(edges), _ABOVE_ALL, edges) + 0.0)


def _percentiles(ordered: npt.NDArray[np.float64]) -> tuple[float, ...] | None:
    """Return the 101 percentiles of sorted values, linear between neighbours."""
    if len(ordered) == 0:
        return None
    place = np.arange(101) / 100 * (len(ordered) - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, len(ordered) - 1)
    part = place - low
    return tuple((ordered[low] * (1 - part) + ordered[high] * part + 0.0).tolist())


def _pairs(
    pairs: Sequence[Sequence[str]],
    features: Mapping[str, FeatureBaseline],
    columns: Mapping[str, Column],
    clusters: Codes | None,
) -> tuple[PairBaseline, ...] | None:
    cells = {}
    for name in {name for pair in pairs for name in pair}:
        feature, values = features[name], columns[name]
        of_text = feature.type == "category"
        cells[name] = LevelCells(feature).of(values) if of_text else number_cells(to_numbers(values), edges_of(feature))
    return tuple(feature_pairs.pair_baseline(pair, features, cells, clusters) for pair in pairs) or None


def _predicted(
    prediction: Column | Predicted | None, columns: Mapping[str, Column], clusters: Codes | None, times: Times | None
) -> Predicted | None:
    if prediction is None or isinstance(prediction, Predicted):
        return prediction
    return Predicted(values=prediction, clusters=clusters, columns=columns, times=times)


def _stratified(
    baseline: Baseline,
    types: Mapping[str, Type],
    columns: Mapping[str, Column],
    times: Times | None,
    predicted: Predicted | None,
) -> Baseline:
    """Return the baseline with its strata, counted as live rows will be."""
    conditions = baseline.conditions or ()
    keys = row_conditions.strata_of(conditions, types, columns, times, baseline.rows)
    grid = Grid(baseline, strata=keys)
    window = WindowTally(grid)
    window.add(columns, baseline.rows, times)
    if predicted is not None and grid.keys is not None:
        rows = _size(predicted.values)
        groups = None if predicted.columns is None else grid.keys.find(predicted.columns, predicted.times, rows)
        window.add_predictions(predicted.values, groups)
    return replace(baseline, strata=window.strata())
