"""Count columns into the cells of a baseline: whole columns at once, by stratum if the baseline has conditions.

Sums are exact: identical to the bit for any order and grouping of the parts. A vector is split into parts whose sums are free of
rounding (error-free vector transformation); parts are added by ``math.fsum``, which rounds once.

See: Rump, Ogita and Oishi 2008, "Accurate floating-point summation part I: faithful rounding", SIAM Journal on Scientific
Computing 31, algorithm 3.3; Shewchuk 1997, "Adaptive precision floating-point arithmetic and fast robust geometric predicates",
Discrete and Computational Geometry 18.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline, FeatureCounts, PairCounts, Stratum
from mlops_runtime.monitor.counting.baseline_cells import (
    NOT_A_NUMBER,
    Cells,
    Coded,
    Column,
    LevelCells,
    Mask,
    Numbers,
    edges_of,
    null_patterns,
    number_cells,
    to_numbers,
)
from mlops_runtime.monitor.counting.conditions import RowKeys, Times
from mlops_runtime.monitor.counting.pairs import PairCounter
from mlops_runtime.monitor.counting.score_cells import score_cells, scores_of

Wide = npt.NDArray[np.float64]
Groups = Cells

# rows a block: two vectors of doubles that fit into a core's cache
_BLOCK = 1 << 14
# number of exact parts that are collected before they are compacted
_PARTS = 256


class ExactSums:
    """Exact sums of finite numbers by group, without rounding.

    Args:
        groups: Number of groups. Default: one.

    Example:
        >>> sums = ExactSums()
        >>> sums.add(np.array([1e16, 1.0, -1e16]))
        >>> sums.result(0)
        (1.0, None)
    """

    def __init__(self, groups: int = 1) -> None:
        self._groups = groups
        self._parts: list[Wide] = []

    def add(self, values: Wide, groups: Groups | None = None) -> None:
        """Add values.

        Args:
            values: Finite numbers of a magnitude up to 1e300.
            groups: Each value's group. Default: all are in the first.
        """
        for start in range(0, len(values), _BLOCK):
            stop = start + _BLOCK
            self._extract(values[start:stop].copy(), None if groups is None else groups[start:stop])
        if len(self._parts) > _PARTS:
            self._parts = self._few()

    def result(self, group: int) -> tuple[float, tuple[float, ...] | None]:
        """Return a group's sum and the remaining terms, see `expansion`."""
        return expansion(float(part[group]) for part in self._parts)

    def _extract(self, left: Wide, groups: Groups | None) -> None:
        high = np.empty_like(left)
        while (largest := float(np.abs(left, out=high).max())) > 0:
            # a power of two so large that sums of the extracted high parts are exact
            step = 2.0 ** (math.frexp(largest)[1] + len(left).bit_length())
            np.add(left, step, out=high)
            high -= step
            left -= high
            total: Wide = np.zeros(self._groups)
            if groups is None:
                total[0] = high.sum()
            else:
                total += np.bincount(groups, weights=high, minlength=self._groups)
            self._parts.append(total)

    def _few(self) -> list[Wide]:
        """Return the same sums with as few parts as the longest expansion has terms."""
        terms = [(value, *(rest or ())) for value, rest in map(self.result, range(self._groups))]
        parts = np.zeros((max(map(len, terms)), self._groups))
        for group, of_group in enumerate(terms):
            parts[: len(of_group), group] = of_group
        return list(parts)


def expansion(parts: Iterable[float]) -> tuple[float, tuple[float, ...] | None]:
    """Return the exact sum of parts as the nearest double and the terms of the remainder; None without a remainder.

    Each term is the double nearest to the remainder of the terms before it, so that a value has a unique form.

    Example:
        >>> expansion([1e16, 1.0, 1.0, 1.0])
        (1.0000000000000004e+16, (-1.0,))
    """
    left = list(parts)
    terms = []
    while (term := math.fsum(left)) != 0:
        terms.append(term)
        left.append(-term)
    return (terms[0] if terms else 0.0), (tuple(terms[1:]) or None)


class Tally(Protocol):
    """Counts one feature by group of rows."""

    def add(
        self, values: Column, groups: Groups | None, *, cells: bool, nulls: bool
    ) -> tuple[Cells | None, Mask | None]:
        """Add rows; return their cells and null mask if requested (the mask is None also if no row is null)."""

    def result(self, group: int | None) -> FeatureCounts:
        """Return the counts of a group; None for all."""


class NumberTally:
    """Counts a feature of numbers."""

    def __init__(self, feature: FeatureBaseline, groups: int) -> None:
        self._name, self._edges, self._groups = feature.name, edges_of(feature), groups
        # two more cells than the baseline: values that are not numbers, and infinite ones
        self._size = len(self._edges) + 4
        self._counts = np.zeros((groups, self._size), dtype=np.int64)
        self._sums, self._squares = ExactSums(groups), ExactSums(groups)
        self._lowest, self._highest = np.full(groups, np.inf), np.full(groups, -np.inf)

    def add(
        self, values: Column, groups: Groups | None, *, cells: bool, nulls: bool
    ) -> tuple[Cells | None, Mask | None]:
        """Add rows."""
        numbers = to_numbers(values)
        finite = np.isfinite(numbers)
        is_whole = bool(finite.all())
        known = numbers if is_whole else numbers[finite]
        found = number_cells(numbers, self._edges) if cells or groups is not None else None
        null = None if is_whole or not nulls else np.isnan(numbers)
        if groups is None:
            rest = (0, 0, 0) if is_whole else _not_finite(numbers)
            self._add_ordered(np.sort(known), rest)
        else:
            assert found is not None  # noqa: S101 - for the type checker
            codes = groups * self._size + found
            self._counts += np.bincount(codes, minlength=self._counts.size).reshape(self._counts.shape)
            groups = groups if is_whole else groups[finite]
            wide = known.astype(np.float64)
            np.minimum.at(self._lowest, groups, wide)
            np.maximum.at(self._highest, groups, wide)
        wide = known.astype(np.float64)
        self._sums.add(wide, groups)
        self._squares.add(wide * wide, groups)
        return found, null

    def _add_ordered(self, ordered: Numbers, rest: tuple[int, int, int]) -> None:
        """Add sorted rows of one group: one search an edge instead of one a row."""
        below = np.searchsorted(ordered, self._edges, side="left")
        counts = np.diff(below, prepend=0, append=len(ordered))
        self._counts[0] += np.concatenate([counts, rest])
        if len(ordered):
            self._lowest[0] = min(self._lowest[0], float(ordered[0]))
            self._highest[0] = max(self._highest[0], float(ordered[-1]))

    def result(self, group: int | None) -> FeatureCounts:
        """Return the counts of a group; None for all."""
        chosen = range(self._groups) if group is None else [group]
        counts = self._counts[chosen].sum(axis=0)
        lowest, highest = float(self._lowest[chosen].min()), float(self._highest[chosen].max())
        total, rest = _all(self._sums, chosen)
        squares, squares_rest = _all(self._squares, chosen)
        return FeatureCounts(
            name=self._name,
            counts=tuple(counts[:-2].tolist()),
            sum=total,
            sum_squares=squares,
            invalid=int(counts[-2]),
            infinite=int(counts[-1]) or None,
            sum_rest=rest,
            sum_squares_rest=squares_rest,
            # adding 0.0 turns a negative zero into a positive one
            minimum=None if lowest == np.inf else lowest + 0.0,
            maximum=None if highest == -np.inf else highest + 0.0,
        )


class CategoryTally:
    """Counts a feature of text."""

    def __init__(self, feature: FeatureBaseline, groups: int) -> None:
        self._name, self._cells = feature.name, LevelCells(feature)
        self._size = self._cells.size + 1
        self._counts = np.zeros((groups, self._size), dtype=np.int64)

    def add(
        self, values: Column, groups: Groups | None, *, cells: bool, nulls: bool
    ) -> tuple[Cells | None, Mask | None]:
        """Add rows."""
        found = self._cells.of(values)
        null = self._size - 2
        before = self._counts[:, null].sum()
        codes = found if groups is None else groups * self._size + found
        self._counts += np.bincount(codes, minlength=self._counts.size).reshape(self._counts.shape)
        is_whole = before == self._counts[:, null].sum()
        return (found if cells else None), (None if is_whole or not nulls else found == null)

    def result(self, group: int | None) -> FeatureCounts:
        """Return the counts of a group; None for all."""
        counts = self._counts.sum(axis=0) if group is None else self._counts[group]
        return FeatureCounts(name=self._name, counts=tuple(counts[:-1].tolist()), invalid=int(counts[-1]))


def tally(feature: FeatureBaseline, groups: int = 1) -> Tally:
    """Return the tally of a feature by its type."""
    return CategoryTally(feature, groups) if feature.type == "category" else NumberTally(feature, groups)


class Grid:
    """Properties of a baseline that all counts against it share.

    Args:
        strata: Keys of its strata. Default: those of the baseline.
    """

    def __init__(self, baseline: Baseline, *, strata: Sequence[str] | None = None) -> None:
        self.baseline = baseline
        self.sha256 = content_hash(baseline)
        self.names = tuple(feature.name for feature in baseline.features)
        self.types = {feature.name: feature.type for feature in baseline.features}
        self.keys: RowKeys | None = None
        self.strata: tuple[str, ...] = ()
        if baseline.conditions:
            self.strata = tuple(stratum.key for stratum in baseline.strata or ()) if strata is None else tuple(strata)
            self.keys = RowKeys(baseline.conditions, self.types, self.strata)
        self.in_pairs = frozenset(name for pair in baseline.pairs or () for name in (pair.first, pair.second))


class WindowTally:
    """Counts rows of all columns against a baseline."""

    def __init__(self, grid: Grid) -> None:
        baseline = grid.baseline
        self._grid = grid
        # one more group for rows whose stratum is not in the baseline
        self._groups = len(grid.strata) + 1 if grid.keys is not None else 1
        self._rows = np.zeros(self._groups, dtype=np.int64)
        self._features = [tally(feature, self._groups) for feature in baseline.features]
        self._predicted = [tally(feature, self._groups) for feature in baseline.predicted]
        self._patterns = None if baseline.null_patterns is None else CategoryTally(baseline.null_patterns, self._groups)
        self._pairs = [PairCounter(p, 1 if p.given is None else self._groups) for p in baseline.pairs or ()]
        self._scores = [np.zeros(len(score.counts), dtype=np.int64) for score in scores_of(baseline)]

    def add(self, columns: Mapping[str, Column], rows: int, times: Times | None = None) -> Groups | None:
        """Add rows; return each row's group, for `add_predictions`; None without conditions."""
        grid = self._grid
        if rows == 0:
            return None
        groups = None if grid.keys is None else grid.keys.find(columns, times, rows)
        masks: list[tuple[str, Mask | None]] = []
        cells: dict[str, Cells] = {}
        for name, feature in zip(grid.names, self._features, strict=True):
            found, null = feature.add(
                columns[name], groups, cells=name in grid.in_pairs, nulls=self._patterns is not None
            )
            masks.append((name, null))
            if found is not None and name in grid.in_pairs:
                cells[name] = found
        self._rows += rows if groups is None else np.bincount(groups, minlength=self._groups)
        if self._patterns is not None:
            codes, names = null_patterns(masks, rows)
            self._patterns.add(Coded(codes, names), groups, cells=False, nulls=False)
        for pair, counter in zip(grid.baseline.pairs or (), self._pairs, strict=True):
            counter.add(cells[pair.first], cells[pair.second], None if pair.given is None else groups)
        return groups

    def add_predictions(self, columns: Sequence[Column], groups: Groups | None) -> None:
        """Add predictions.

        Args:
            columns: One column for each of the baseline's predictions, one value a row.
            groups: Their rows' groups. Default: unknown.
        """
        if not self._predicted or not columns:
            return
        size = len(columns[0])
        if size == 0:
            return
        if groups is None and self._groups > 1:
            groups = np.full(size, self._groups - 1, dtype=np.int64)
        for counted, values in zip(self._predicted, columns, strict=True):
            counted.add(values, groups, cells=False, nulls=False)

    def add_scores(self, predictions: Column) -> None:
        """Add predictions to the cells of the estimator's scores."""
        added = zip(self._scores, score_cells(predictions, self._grid.baseline), strict=True)
        self._scores = [counts + np.bincount(cells, minlength=len(counts)) for counts, cells in added]

    def scores(self) -> tuple[tuple[int, ...], ...] | None:
        """Return the counts of the scores; None without an estimator."""
        return tuple(tuple(counts.tolist()) for counts in self._scores) or None

    def fields(self, group: int | None) -> dict[str, Any]:
        """Return the counts that a window and a stratum have in common, of a group; None for all."""
        baseline, tables = self._grid.baseline, []
        for pair, counter in zip(baseline.pairs or (), self._pairs, strict=True):
            if group is None or pair.given is not None:
                counts = counter.counts.sum(axis=0) if group is None else counter.counts[group]
                tables.append(PairCounts(first=pair.first, second=pair.second, counts=tuple(counts.tolist())))
        predicted = tuple(each.result(group) for each in self._predicted)
        return {
            "features": tuple(feature.result(group) for feature in self._features),
            "prediction": None if baseline.prediction is None else predicted[0],
            "predictions": None if baseline.predictions is None else predicted,
            "null_patterns": None if self._patterns is None else self._patterns.result(group),
            "pairs": tuple(tables) or None,
        }

    def strata(self) -> tuple[Stratum, ...] | None:
        """Return the counts of the strata that have rows; None without conditions."""
        if self._grid.keys is None:
            return None
        keys = enumerate(self._grid.strata)
        return tuple(
            Stratum(key=key, rows=rows, **self.fields(group)) for group, key in keys if (rows := int(self._rows[group]))
        )


def _not_finite(numbers: Numbers) -> tuple[int, int, int]:
    return int(np.isnan(numbers).sum()), int((numbers == NOT_A_NUMBER).sum()), int(np.isposinf(numbers).sum())


def _all(sums: ExactSums, groups: Sequence[int]) -> tuple[float, tuple[float, ...] | None]:
    if len(groups) == 1:
        return sums.result(groups[0])
    return expansion(
        term for group in groups for value, rest in [sums.result(group)] for term in (value, *(rest or ()))
    )
