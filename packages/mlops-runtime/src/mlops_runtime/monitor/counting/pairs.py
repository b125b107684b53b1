"""Contingency tables of pairs of features: the cells of each are merged into at most five groups of similar size, and null."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mlops_runtime.contracts.monitor import FeatureBaseline, PairBaseline, PairDispersion
from mlops_runtime.monitor.counting.baseline_cells import Cells
from mlops_runtime.monitor.counting.dispersion import design_effects

GROUPS = 5
# maximum over all strata of a baseline; each object of counts contains those of its own strata
MAXIMUM_STRATA_CELLS = 20_000


class PairError(ValueError):
    """Pairs are invalid; the message lists every problem."""


def check(pairs: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    """Check that each pair consists of two different features.

    Raises:
        PairError: With every invalid pair.
    """
    problems = [
        f"a pair must be two different features of {', '.join(map(repr, names))}, got {tuple(pair)!r}"
        for pair in pairs
        if len(pair) != 2 or len(set(pair)) != 2 or not set(pair) <= set(names)
    ]
    if problems:
        raise PairError("; ".join(problems))


def pair_name(pair: PairBaseline) -> str:
    """Return the name of a pair in reports.

    Example:
        >>> pair_name(PairBaseline(first="price", second="store", first_groups=(), second_groups=(), counts=()))
        'price x store'
    """
    return f"{pair.first} x {pair.second}"


def groups(feature: FeatureBaseline) -> tuple[int, ...]:
    """Return the group of each cell of a baseline, in order of the cells; null is a group of its own, the last.

    Example:
        >>> groups(FeatureBaseline(name="x", type="number", edges=(1.0, 2.0, 3.0), counts=(0, 50, 50, 0, 7)))
        (0, 0, 1, 1, 2)
    """
    counts = np.array(feature.counts[:-1], dtype=np.float64)
    total = counts.sum()
    # the median row of a cell determines its group
    middle = (np.cumsum(counts) - counts / 2) / total if total else np.zeros(len(counts))
    bands = np.minimum((middle * GROUPS).astype(np.int64), GROUPS - 1)
    # empty cells join their neighbour, so that no group is empty
    for index in range(1, len(bands)):
        if counts[index] == 0:
            bands[index] = bands[index - 1]
    filled = np.flatnonzero(counts)
    if len(filled):
        bands[: filled[0]] = bands[filled[0]]
    grouped = np.unique(bands, return_inverse=True)[1].tolist()
    return (*grouped, max(grouped) + 1)


class PairCounter:
    """Counts the table of one pair.

    Args:
        pair: The pair's baseline, of which counts are not needed.
        strata: Number of tables, one a group of rows. Default: 1.

    Example:
        >>> pair = PairBaseline(first="a", second="b", first_groups=(0, 1), second_groups=(0, 1), counts=())
        >>> counter = PairCounter(pair)
        >>> counter.add(np.array([0, 0, 1]), np.array([0, 1, 1]))
        >>> counter.counts.tolist()
        [[1, 1, 0, 1]]
    """

    def __init__(self, pair: PairBaseline, strata: int = 1) -> None:
        self._first, self._second = _lookup(pair.first_groups), _lookup(pair.second_groups)
        self._width = max(pair.second_groups) + 1
        self.size = (max(pair.first_groups) + 1) * self._width
        self.counts = np.zeros((strata, self.size), dtype=np.int64)

    def add(self, first: Cells, second: Cells, strata: Cells | None = None) -> None:
        """Add rows by their cells and group; rows with an infinite value or one of another type are excluded."""
        cells = self.cells(first, second)
        known = cells >= 0
        at = cells if strata is None else strata * self.size + cells
        self.counts += np.bincount(at[known], minlength=self.counts.size).reshape(self.counts.shape)

    def cells(self, first: Cells, second: Cells) -> Cells:
        """Return each row's cell of the table; -1 for an excluded row."""
        row, column = self._first[first], self._second[second]
        return np.where((row < 0) | (column < 0), -1, row * self._width + column)


def table_size(pair: PairBaseline) -> int:
    """Return the number of cells of a pair's table."""
    return (max(pair.first_groups) + 1) * (max(pair.second_groups) + 1)


def pair_baselines(
    pairs: Sequence[Sequence[str]],
    features: Mapping[str, FeatureBaseline],
    cells: Mapping[str, Cells],
    clusters: Cells | None,
    strata: Cells | None,
) -> tuple[PairBaseline, ...]:
    """Return the baselines of pairs; only the first ones, up to 20,000 cells over all strata, have baselines by stratum.

    Args:
        pairs: The two features of each pair.
        features: Baselines of the features.
        cells: Each row's cell, by feature.
        clusters: As in `pair_baseline`.
        strata: As in `pair_baseline`.
    """
    found: list[PairBaseline] = []
    room = 0 if strata is None else MAXIMUM_STRATA_CELLS // len(np.unique(strata))
    for pair in pairs:
        one = pair_baseline(pair, features, cells, clusters, strata)
        room -= table_size(one)
        found.append(one if room >= 0 else replace(one, given=None))
    return tuple(found)


def pair_baseline(
    names: Sequence[str],
    features: Mapping[str, FeatureBaseline],
    cells: Mapping[str, Cells],
    clusters: Cells | None,
    strata: Cells | None = None,
) -> PairBaseline:
    """Return the baseline of a pair.

    Args:
        names: The two features.
        features: Baselines of the features.
        cells: Each row's cell, by feature.
        clusters: Code of each row's cluster; None for independent rows.
        strata: Code of each row's stratum. Default: there are no conditions.
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
    own = None if clusters is None else clusters[kept]
    effects = design_effects(found[kept], counter.size, own)
    within = None if strata is None else design_effects(found[kept], counter.size, own, strata[kept])
    return replace(
        empty,
        counts=tuple(np.bincount(found[kept], minlength=counter.size).tolist()),
        overdispersion=effects.mean,
        overdispersion_spread=None if clusters is None else effects.spread,
        clusters=effects.clusters,
        given=None
        if within is None
        else PairDispersion(
            overdispersion=within.mean,
            overdispersion_spread=None if clusters is None else within.spread,
            clusters=within.clusters,
        ),
    )


def _lookup(of_cells: Sequence[int]) -> Cells:
    # the cells past null count values of another type and infinite ones
    return np.array([*of_cells, -1, -1], dtype=np.int64)
