"""Pairs of features in small tables: cells of either are put into at most five groups of about equal rows, and null."""

from collections.abc import Mapping, Sequence

import numpy as np

from mlops_runtime.contracts.monitor import FeatureBaseline, PairBaseline
from mlops_runtime.monitor.counting.baseline_cells import Cells
from mlops_runtime.monitor.counting.dispersion import design_effects

GROUPS = 5


class PairError(ValueError):
    """Pairs cannot be watched; the message lists every problem."""


def check(pairs: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    """Check that pairs are of two different features each.

    Raises:
        PairError: With every pair that is not.
    """
    problems = [
        f"a pair must be two different features of {', '.join(map(repr, names))}, got {tuple(pair)!r}"
        for pair in pairs
        if len(pair) != 2 or len(set(pair)) != 2 or not set(pair) <= set(names)
    ]
    if problems:
        raise PairError("; ".join(problems))


def groups(feature: FeatureBaseline) -> tuple[int, ...]:
    """Return the group of each cell of a baseline; cells in their order, null last and apart.

    Example:
        >>> groups(FeatureBaseline(name="x", type="number", edges=(1.0, 2.0, 3.0), counts=(0, 50, 50, 0, 7)))
        (0, 0, 1, 1, 2)
    """
    counts = np.array(feature.counts[:-1], dtype=np.float64)
    total = counts.sum()
    # a cell goes where the middle of its rows lies
    middle = (np.cumsum(counts) - counts / 2) / total if total else np.zeros(len(counts))
    bands = np.minimum((middle * GROUPS).astype(np.int64), GROUPS - 1)
    # an empty cell is with its neighbour, so that no group is empty
    for index in range(1, len(bands)):
        if counts[index] == 0:
            bands[index] = bands[index - 1]
    filled = np.flatnonzero(counts)
    if len(filled):
        bands[: filled[0]] = bands[filled[0]]
    grouped = np.unique(bands, return_inverse=True)[1].tolist()
    return (*grouped, max(grouped) + 1)


class PairCounter:
    """Counts one pair's table.

    Args:
        pair: Its baseline; counts need not be known.

    Example:
        >>> pair = PairBaseline(first="a", second="b", first_groups=(0, 1), second_groups=(0, 1), counts=())
        >>> counter = PairCounter(pair)
        >>> counter.add(np.array([0, 0, 1]), np.array([0, 1, 1]))
        >>> counter.counts.tolist()
        [1, 1, 0, 1]
    """

    def __init__(self, pair: PairBaseline) -> None:
        self._first, self._second = _lookup(pair.first_groups), _lookup(pair.second_groups)
        self._width = max(pair.second_groups) + 1
        self.size = (max(pair.first_groups) + 1) * self._width
        self.counts = np.zeros(self.size, dtype=np.int64)

    def add(self, first: Cells, second: Cells) -> None:
        """Add rows by their cells; those with an infinite value or one of another type are left out."""
        cells = self.cells(first, second)
        self.counts += np.bincount(cells[cells >= 0], minlength=self.size)

    def cells(self, first: Cells, second: Cells) -> Cells:
        """Return each row's cell of the table, -1 for a row that is left out."""
        row, column = self._first[first], self._second[second]
        return np.where((row < 0) | (column < 0), -1, row * self._width + column)


def pair_baseline(
    names: Sequence[str], features: Mapping[str, FeatureBaseline], cells: Mapping[str, Cells], clusters: Cells | None
) -> PairBaseline:
    """Return the baseline of a pair.

    Args:
        names: The two features.
        features: Their baselines.
        cells: Their rows' cells.
        clusters: Code of each row's cluster. Default: rows are taken for independent.
    """
    first, second = names
    empty = PairBaseline(
        first=first,
        second=second,
        first_groups=groups(features[first]),
        second_groups=groups(features[second]),
        counts=(),
    )
    counter = PairCounter(empty)
    found = counter.cells(cells[first], cells[second])
    kept = found >= 0
    effects = design_effects(found[kept], counter.size, None if clusters is None else clusters[kept])
    return PairBaseline(
        first=first,
        second=second,
        first_groups=empty.first_groups,
        second_groups=empty.second_groups,
        counts=tuple(np.bincount(found[kept], minlength=counter.size).tolist()),
        overdispersion=effects.mean,
        overdispersion_spread=None if clusters is None else effects.spread,
        clusters=effects.clusters,
    )


def _lookup(of_cells: Sequence[int]) -> Cells:
    # the cells past null count values of another type and infinite ones
    return np.array([*of_cells, -1, -1], dtype=np.int64)
