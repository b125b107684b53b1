"""Contingency tables of pairs of features given conditions: by stratum, and standardised to the window's mix of strata."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import Baseline, Counts, PairBaseline
from mlops_runtime.monitor.counting.pairs import MAXIMUM_STRATA_CELLS, table_size
from mlops_runtime.monitor.monitors.drift.paired_strata import pair_strata
from mlops_runtime.monitor.monitors.drift.rules import pair_name

Wide = npt.NDArray[np.float64]


def stratum_tables(baseline: Baseline, counts: Counts, pair: PairBaseline) -> list[tuple[Wide, Wide]]:
    """Return a pair's counts in baseline and window, each of shape (cells,), for each stratum in which both have rows."""
    found = []
    for strata in pair_strata(baseline, counts).pairs:
        tables = [
            np.array(table.counts, dtype=np.float64)
            for stratum in strata
            for table in stratum.pairs or ()
            if (table.first, table.second) == (pair.first, pair.second)
        ]
        if len(tables) == len(strata) and all(table.any() for table in tables):
            found.append((tables[0], tables[1]))
    return found


def at_the_windows_mix(tables: Sequence[tuple[Wide, Wide]], cells: int) -> tuple[Wide, Wide]:
    """Return the baseline's table standardised to the window's strata, scaled to its effective rows, and the window's table.

    Args:
        tables: Tables of baseline and window by stratum.
        cells: Number of cells of a table.

    Example:
        >>> strata = [(np.array([30.0, 10.0]), np.array([0.0, 5.0])), (np.array([10.0, 10.0]), np.array([10.0, 5.0]))]
        >>> [table.round(2).tolist() for table in at_the_windows_mix(strata, 2)]
        [[18.95, 14.74], [10.0, 10.0]]
    """
    if not tables:
        return np.zeros(cells), np.zeros(cells)
    before, after = (np.stack(side) for side in zip(*tables, strict=True))
    n, m = before.sum(axis=1), after.sum(axis=1)
    weights = m / m.sum()
    worth = 1 / (weights**2 / n).sum()
    return (weights / n) @ before * worth, after.sum(axis=0)


def compared_without_conditions(baseline: Baseline) -> dict[str, int]:
    """Return the problem of each pair whose tables by stratum are too large to be stored.

    Example:
        >>> pair = PairBaseline(first="price", second="store", first_groups=(0, 1), second_groups=(0, 1), counts=(9, 0, 0, 9))
        >>> baseline = Baseline(features=(), rows=18, training_set_id="t", created="", pairs=(pair,))
        >>> compared_without_conditions(baseline)
        {}
    """
    if baseline.strata is None:
        return {}
    number, room = len(baseline.strata), f"all pairs together may have {MAXIMUM_STRATA_CELLS:,}"
    return {
        f"{pair_name(pair)} is compared without conditions: its tables of {number} strata have {table_size(pair) * number:,} "
        f"cells, and {room}; declare fewer pairs or fewer conditions": 1
        for pair in baseline.pairs or ()
        if pair.given is None
    }
