"""Fit one feature of a baseline: quantile bins and point masses of numbers, levels and tail of text, and over-dispersion.

numpy only. Bins are fitted once and live data are counted into them, so that counts of any parts of a window can be added.

See: Good 1953, "The population frequencies of species and the estimation of population parameters", Biometrika 40.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import Dispersion, FeatureBaseline
from mlops_runtime.monitor.counting.baseline_cells import (
    NOT_A_NUMBER,
    Cells,
    Coded,
    Column,
    LevelCells,
    Mask,
    Numbers,
    edges_of,
    level_crc,
    number_cells,
    number_identifier,
    spread_scores,
    text_identifier,
    to_coded,
    to_numbers,
)
from mlops_runtime.monitor.counting.dispersion import Codes, design_effects, mean_design_effect, union_jumps
from mlops_runtime.monitor.counting.stratum_effects import stratum_effects
from mlops_runtime.monitor.counting.tail_cells import beyond_edges, tail_edges


def unseen_share(levels: Codes, clusters: Codes | None) -> float:
    """Return the expected share of rows with new levels in the next cluster without drift.

    Good's estimate, leaving out one cluster at a time: the share of rows whose level occurs in no other cluster (for independent
    rows, in no other row). Columns with many levels always have some.

    Args:
        levels: Code of each row's level, from 0, negative for null, shape (rows,).
        clusters: As in `design_effects`.

    Example:
        >>> unseen_share(np.array([0, 0, 1, 2]), None)
        0.5
        >>> unseen_share(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))
        0.5
    """
    known = levels >= 0
    if not known.any():
        return 0.0
    rows, total = np.bincount(levels[known]), len(levels)
    if clusters is None:
        return float((rows == 1).sum() / total)
    width = int(clusters.max()) + 1
    pairs = np.unique(levels[known] * width + clusters[known])
    return float(rows[np.bincount(pairs // width, minlength=len(rows)) == 1].sum() / total)


BINS = 10
LEVELS = 20
# number of tail cells by the maximum number of levels that are not among the most frequent
_TAILS = ((0, 0), (32, 32))
_TAIL = 64
# maximum number of CRC-32s stored of rare levels, to distinguish them from new ones
_MAXIMUM_KNOWN = 10_000
# longer levels, and those that UTF-8 cannot encode, belong to the tail
_MAXIMUM_NAME = 256
# the edge above the largest 32-bit float: 2^128
_ABOVE_ALL = 2.0**128


class BaselineError(ValueError):
    """A baseline cannot be fitted to the columns; the message lists every problem."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted feature."""

    feature: FeatureBaseline  # the feature's baseline
    values: Column  # the converted column
    nulls: Mask | None  # which rows are null; None if no row is
    identifier: str | None  # why the column is an identifier; None if it is not


def number_baseline(
    name: str, values: Column, *, clusters: Codes | None = None, strata: Codes | None = None
) -> FeatureBaseline:
    """Return the baseline of a numeric feature.

    The inner edges are the values' deciles, and up to six in the tails if there are enough rows (`tail_cells`). A point mass of a
    tenth or more of the rows (a default value) has its own bin: its share may drift while all quantiles stay. So has zero if it is
    in the range: its share is often the first to drift.
    The two outer bins count values outside the range. Without any known value there is one bin.

    Args:
        name: The feature's name.
        values: One value a row; NaN is null.
        clusters: Code of each row's cluster, for the over-dispersion. Default: rows are independent.
        strata: Code of each row's stratum, for the over-dispersion given conditions. Default: rows have no conditions.

    Raises:
        BaselineError: If a value is neither a number nor null. Infinite numbers are counted separately.

    Example:
        >>> number_baseline("units", np.array([0, 0, 0, 5, 9, np.nan], dtype=np.float32)).counts
        (0, 3, 0, 1, 0, 1, 0, 1)
    """
    return fit_number(name, values, clusters, None, recognise=False, strata=strata).feature


def category_baseline(
    name: str, values: Column, *, clusters: Codes | None = None, strata: Codes | None = None
) -> FeatureBaseline:
    """Return the baseline of a categorical feature: its twenty most frequent levels, cells of the other levels, new, null.

    Args:
        name: The feature's name.
        values: One level a row; None, NaN and the empty string are null.
        clusters: As in `number_baseline`.
        strata: As in `number_baseline`.

    Raises:
        BaselineError: If a value is neither text nor null.

    Example:
        >>> category_baseline("store", ["b", "a", "b", None]).counts
        (2, 1, 0, 1)
    """
    return fit_category(name, values, clusters, None, recognise=False, strata=strata).feature


def fit_number(
    name: str,
    values: Column,
    clusters: Codes | None,
    identifier: str | None,
    *,
    recognise: bool = True,
    strata: Codes | None = None,
) -> Fitted:
    """Return the baseline of a column of numbers, with the converted column, null mask and identifier reason.

    Args:
        name: The feature's name.
        values: One value a row.
        clusters: Code of each row's cluster; None for independent rows.
        identifier: Why the column is an identifier by declaration; None if it is not. Identifiers have only counts of known and
            null rows.
        recognise: Whether to recognise undeclared identifiers. Default: yes.
        strata: As in `number_baseline`.

    Raises:
        BaselineError: If a value is neither a number nor null. Infinite numbers are counted separately.

    Example:
        >>> fit_number("id", np.arange(3), None, "declared").feature.counts
        (3, 0)
    """
    numbers = to_numbers(values)
    is_finite = np.isfinite(numbers)
    is_whole = bool(is_finite.all())
    nulls = None if is_whole else np.isnan(numbers)
    ordered = np.sort(numbers if is_whole else numbers[is_finite])
    null = 0 if nulls is None else int(nulls.sum())
    if invalid := int((numbers == NOT_A_NUMBER).sum()):
        raise BaselineError(
            f"feature {name!r} must be a number or null in the training split, got {invalid} other values"
        )
    infinite = len(numbers) - len(ordered) - null
    reason = identifier or (number_identifier(values, ordered) if recognise else None)
    if reason is not None:
        feature = FeatureBaseline(name=name, type="number", counts=(len(ordered), null), infinite=infinite or None)
        return Fitted(feature, numbers, nulls, reason)
    edges = _edges(ordered)
    counts = _counted(ordered, edges)
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
        infinite=infinite or None,
    )
    celled = numbers
    if clusters is not None:
        if infinite:
            some = ~np.isinf(numbers)
            celled, clusters, strata = numbers[some], clusters[some], None if strata is None else strata[some]
        cells, wide_numbers = number_cells(celled, edges_of(feature)), celled.astype(np.float64)
        scores = np.append(spread_scores(np.array(counts, dtype=np.float64)), np.nan)
        feature = replace(
            _dispersed(feature, cells, clusters, strata),
            mean_overdispersion=mean_design_effect(wide_numbers, clusters),
            spread_overdispersion=mean_design_effect(scores[cells], clusters),
        )
        if feature.given is not None:
            given = replace(
                feature.given,
                mean_overdispersion=mean_design_effect(wide_numbers, clusters, strata),
                spread_overdispersion=mean_design_effect(scores[cells], clusters, strata),
            )
            feature = replace(feature, given=given)
    tails = tail_edges(ordered, feature.edges)
    if tails:
        feature = _with_tails(feature, tails, ordered, celled, clusters=clusters, strata=strata)
    return Fitted(feature, numbers, nulls, None)


def fit_category(
    name: str,
    values: Column,
    clusters: Codes | None,
    identifier: str | None,
    *,
    recognise: bool = True,
    strata: Codes | None = None,
) -> Fitted:
    """Return the baseline of a column of text, with the converted column, null mask and identifier reason.

    Args:
        name: The feature's name.
        values: One value a row.
        clusters: Code of each row's cluster; None for independent rows.
        identifier: Why the column is an identifier by declaration; None if it is not. Identifiers have only counts of known and
            null rows.
        recognise: Whether to recognise undeclared identifiers. Default: yes.
        strata: As in `number_baseline`.

    Raises:
        BaselineError: If a value is neither text nor null.

    Example:
        >>> fit_category("id", ["a", None], None, "declared").feature.counts
        (1, 1)
    """
    coded, invalid = to_coded(values)
    if invalid:
        raise BaselineError(f"feature {name!r} must be text or null in the training split, got {invalid} other values")
    found = np.bincount(coded.codes + 1, minlength=len(coded.levels) + 1)
    null, rows = int(found[0]), found[1:]
    nulls = coded.codes < 0 if null else None
    reason = identifier or (text_identifier(coded) if recognise else None)
    if reason is not None:
        return Fitted(FeatureBaseline(name=name, type="category", counts=(int(rows.sum()), null)), coded, nulls, reason)
    names = [level if _is_name(level) else None for level in coded.levels]
    # most frequent first, ties by name: deterministic for the same data
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
        feature = _dispersed(feature, of_level[coded.codes], clusters, strata)
    return Fitted(feature, coded, nulls, None)


def is_closed(feature: FeatureBaseline, values: Coded, later: Mask | None) -> bool:
    """Return whether a column's levels appear to be complete, a closed list.

    That is, it has at most twenty levels, none in only one row or cluster, and none that first occurs in the second half of the
    time span.

    Args:
        feature: The column's baseline.
        values: The column.
        later: Which rows are in the second half, shape (rows,); None if the rows have no times.

    Example:
        >>> fitted = fit_category("payment", ["card", "cash"] * 5, None, None)
        >>> is_closed(fitted.feature, fitted.values, None)
        True
    """
    if feature.tail or feature.unseen_share or not feature.levels:
        return False
    if later is None:
        return True
    codes = values.codes
    return set(np.unique(codes[(codes >= 0) & later]).tolist()) <= set(np.unique(codes[(codes >= 0) & ~later]).tolist())


def _frequent(rows: Codes) -> list[int]:
    """Return the codes of the candidates for the most frequent levels, including ties."""
    present = np.flatnonzero(rows)
    # more than LEVELS candidates, since levels with invalid names are skipped later
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


def _dispersed(feature: FeatureBaseline, cells: Cells, clusters: Codes, strata: Codes | None) -> FeatureBaseline:
    effects = design_effects(cells, len(feature.counts), clusters)
    within = None if strata is None else design_effects(cells, len(feature.counts), clusters, strata)
    kept = np.ones(len(feature.counts), dtype=np.bool_)
    if feature.tail:
        kept[len(feature.levels) : -1] = False
    return replace(
        feature,
        overdispersion=effects.mean,
        overdispersion_spread=effects.spread,
        cell_overdispersion=effects.cells,
        cluster_rows=effects.rows,
        cluster_excess=effects.excess,
        cell_jumps=effects.jumps,
        clusters=effects.clusters,
        given=None
        if within is None or strata is None
        else Dispersion(
            overdispersion=within.mean,
            overdispersion_spread=within.spread,
            cell_overdispersion=within.cells,
            cluster_excess=within.excess,
            cell_jumps=within.jumps,
            clusters=within.clusters,
            strata=stratum_effects(cells, kept, clusters, strata, within),
        ),
    )


def _with_tails(
    feature: FeatureBaseline,
    tails: tuple[float, ...],
    ordered: Numbers,
    celled: Numbers,
    *,
    clusters: Codes | None,
    strata: Codes | None,
) -> FeatureBaseline:
    """Return a feature with tail edges and their burst sizes."""
    edges = np.sort([*feature.edges, *tails])
    counts = (*_counted(ordered, edges), feature.counts[-1])
    feature = replace(feature, edges=tuple(edges.tolist()), counts=counts, tail_edges=tails)
    if clusters is None:
        return feature
    cells, unions = number_cells(celled, edges_of(feature)), beyond_edges(feature)
    feature = replace(feature, tail_jumps=union_jumps(cells, unions, clusters))
    if feature.given is None:
        return feature
    return replace(feature, given=replace(feature.given, tail_jumps=union_jumps(cells, unions, clusters, strata)))


def _counted(ordered: Numbers, edges: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """Return the number of sorted values in each bin."""
    with np.errstate(over="ignore"):
        below = np.searchsorted(ordered, edges.astype(np.float32), side="left")
    return tuple(np.diff(below, prepend=0, append=len(ordered)).tolist())


def _edges(ordered: Numbers) -> npt.NDArray[np.float64]:
    """Return the edges of the bins of sorted values: deciles, point masses, zero, and both ends."""
    rows = len(ordered)
    if rows == 0:
        return np.empty(0)
    deciles = ordered[-(-rows * np.arange(1, BINS) // BINS) - 1]
    # a run of equal values with a tenth of the rows includes one of these positions
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
    """Return the 101 percentiles of sorted values, linearly interpolated."""
    if len(ordered) == 0:
        return None
    place = np.arange(101) / 100 * (len(ordered) - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, len(ordered) - 1)
    part = place - low
    return tuple((ordered[low] * (1 - part) + ordered[high] * part + 0.0).tolist())
