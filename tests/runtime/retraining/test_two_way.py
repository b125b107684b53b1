"""Intervals that know blocks and periods: that they cover what they say, where a bootstrap of blocks does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.model import LossBlock, PeriodLosses
from mlops_runtime.retraining.bootstrap import UNBOUNDED, intervals
from mlops_runtime.retraining.two_way import two_way_bound

TRUTH = -0.05


def _periods(ours: np.ndarray, theirs: np.ndarray) -> list[PeriodLosses]:
    return [
        PeriodLosses(period=str(week), absolute_error={"candidate": tuple(mine), "naive": tuple(other)})
        for week, (mine, other) in enumerate(zip(ours.tolist(), theirs.tolist(), strict=True))
    ]


def _holdout(seed: int, blocks: int, weeks: int, by_block: float, by_week: float, by_cell: float) -> list[PeriodLosses]:
    """Return a holdout in which blocks, weeks and cells each differ by so much around the truth; blocks are of different size."""
    random = np.random.default_rng([7, seed])
    theirs = random.gamma(4, 5, blocks) * random.uniform(0.8, 1.2, (weeks, blocks))
    apart = random.normal(0, by_block, blocks) + random.normal(0, by_week, (weeks, 1))
    ours = theirs * np.maximum(0.0, 1 + TRUTH + apart + random.normal(0, by_cell, (weeks, blocks)))
    return _periods(ours, theirs)


@pytest.mark.parametrize("weeks", [4, 8])
@pytest.mark.parametrize(
    ("by_block", "by_week", "by_cell"),
    [(0.05, 0.0, 0.1), (0.05, 0.02, 0.1), (0.02, 0.05, 0.1), (0.0, 0.0, 0.1)],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(
    weeks: int, by_block: float, by_week: float, by_cell: float
) -> None:
    """Whether stores differ, weeks, both or neither: of 300 holdouts about 95 % or more have the truth in their interval.

    Three standard errors of a share of 300 at 0.95 are 3.8 points. Where neither differs the cells are counted once too often and
    it covers more: who errs, errs in favour of what serves.
    """
    inside = 0
    for seed in range(300):
        bound = two_way_bound(_holdout(seed, 60, weeks, by_block, by_week, by_cell), "naive", tail=0.025)
        inside += bound.low <= TRUTH <= bound.high
    assert inside / 300 >= 0.95 - 3 * (0.95 * 0.05 / 300) ** 0.5


def test_a_bootstrap_of_blocks_does_not_where_weeks_differ() -> None:
    """The same holdouts of eight weeks that differ by 5 %: it has the truth in less than two thirds, where it says 95 %."""
    inside = 0
    for seed in range(100):
        periods = _holdout(seed, 60, 8, 0.02, 0.05, 0.1)
        sums = {
            name: np.sum([period.absolute_error[name] for period in periods], axis=0) for name in ("candidate", "naive")
        }
        blocks = [
            LossBlock(
                block=str(index),
                rows=1,
                actual_sum=1.0,
                absolute_error={name: float(total[index]) for name, total in sums.items()},
            )
            for index in range(60)
        ]
        low, high = intervals(blocks, ["naive"], confidence=0.95, resamples=100, seed=seed)["naive"]
        inside += low <= TRUTH <= high
    assert inside < 67


def test_more_weeks_make_it_narrower_than_more_stores_do() -> None:
    """Where weeks differ, that is: what there is little of is what counts."""

    def width(blocks: int, weeks: int) -> float:
        bounds = [two_way_bound(_holdout(s, blocks, weeks, 0.02, 0.05, 0.1), "naive", tail=0.025) for s in range(20)]
        return sum(bound.high - bound.low for bound in bounds)

    assert width(60, 8) < 0.7 * width(60, 4)
    assert width(120, 4) > 0.9 * width(60, 4)


@given(st.lists(st.lists(st.floats(0.1, 100), min_size=3, max_size=3), min_size=4, max_size=9), st.floats(0.5, 2))
def test_a_constant_difference_has_no_width(theirs: list[list[float]], factor: float) -> None:
    """Whatever the sizes: the same relative difference everywhere is known."""
    table = np.array(theirs)
    bound = two_way_bound(_periods(factor * table, table), "naive", tail=0.01)
    assert (bound.low, bound.high) == (pytest.approx(factor - 1, abs=1e-6), pytest.approx(factor - 1, abs=1e-6))


def test_a_rival_without_loss_is_no_division() -> None:
    """It cannot be beaten."""
    bound = two_way_bound(_periods(np.ones((4, 12)), np.zeros((4, 12))), "naive", tail=0.025)
    assert (bound.low, bound.high) == (UNBOUNDED, UNBOUNDED)


def test_blocks_without_rows_are_not_counted() -> None:
    """A segment that only some stores sell: the interval is that of these stores."""
    random = np.random.default_rng(3)
    theirs = random.gamma(4, 5, (6, 12))
    ours = theirs * random.uniform(0.8, 1.2, (6, 12))
    nothing = np.zeros((6, 30))
    alone = two_way_bound(_periods(ours, theirs), "naive", tail=0.025)
    among = two_way_bound(_periods(np.hstack([ours, nothing]), np.hstack([theirs, nothing])), "naive", tail=0.025)
    assert (among.low, among.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
