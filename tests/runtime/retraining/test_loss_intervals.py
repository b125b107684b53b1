"""Quantiles of Student's t agree with another library's.

Intervals over blocks and periods have their nominal coverage where a bootstrap of blocks does not.

The bootstrap: coverage of its intervals, over all rows and by segment.
"""

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlops_runtime.contracts.model import Evaluation, LossBlock, PeriodLosses
from mlops_runtime.retraining.loss_intervals import (
    UNBOUNDED,
    intervals,
    relative,
    segment_bounds,
    student_quantile,
    two_way_bound,
)

TRUTH = -0.05


@given(st.floats(0.001, 0.99999), st.floats(1, 5000))
def test_quantiles_are_those_of_scipy(share: float, degrees: float) -> None:
    """Integer and fractional degrees, both tails."""
    assert student_quantile(share, degrees) == pytest.approx(stats.t.ppf(share, degrees), rel=1e-7, abs=1e-9)


def test_the_median_is_nothing() -> None:
    """The tails mirror each other."""
    assert student_quantile(0.5, 3) == pytest.approx(0.0, abs=1e-9)
    assert student_quantile(0.025, 7) == -student_quantile(0.975, 7)


def _periods(ours: np.ndarray, theirs: np.ndarray) -> list[PeriodLosses]:
    return [
        PeriodLosses(period=str(week), absolute_error={"candidate": tuple(mine), "naive": tuple(other)})
        for week, (mine, other) in enumerate(zip(ours.tolist(), theirs.tolist(), strict=True))
    ]


def _holdout(seed: int, blocks: int, weeks: int, by_block: float, by_week: float, by_cell: float) -> list[PeriodLosses]:
    """Return a holdout in which blocks, weeks and cells vary around the truth by the given amounts; block sizes differ."""
    random = np.random.default_rng([7, seed])
    theirs = random.gamma(4, 5, blocks) * random.uniform(0.8, 1.2, (weeks, blocks))
    apart = random.normal(0, by_block, blocks) + random.normal(0, by_week, (weeks, 1))
    ours = theirs * np.maximum(0.0, 1 + TRUTH + apart + random.normal(0, by_cell, (weeks, blocks)))
    return _periods(ours, theirs)


@pytest.mark.parametrize("holdouts", [60, pytest.param(3000, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("weeks", [4, 8])
@pytest.mark.parametrize(
    ("by_block", "by_week", "by_cell"),
    [(0.05, 0.0, 0.1), (0.05, 0.02, 0.1), (0.02, 0.05, 0.1), (0.0, 0.0, 0.1)],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(
    weeks: int, by_block: float, by_week: float, by_cell: float, holdouts: int
) -> None:
    """If stores, weeks, both or neither vary, at least about 95 % of holdouts have the truth in their interval.

    Three standard errors of a share of 3,000 at 0.95 are 1.2 points. If neither varies, cells are counted once too
    often and it
    covers more, which favours the live model.
    """
    inside = 0
    for seed in range(holdouts):
        bound = two_way_bound(_holdout(seed, 60, weeks, by_block, by_week, by_cell), "naive", tail=0.025)
        inside += bound.low <= TRUTH <= bound.high
    assert inside / holdouts >= 0.95 - 3 * (0.95 * 0.05 / holdouts) ** 0.5


def test_a_bootstrap_of_blocks_does_not_where_weeks_differ() -> None:
    """In eight weeks that vary by 5 % it covers the truth in less than two thirds of holdouts, at a nominal 95 %."""
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
    """If weeks vary, the scarcer dimension decides."""

    def width(blocks: int, weeks: int) -> float:
        bounds = [two_way_bound(_holdout(s, blocks, weeks, 0.02, 0.05, 0.1), "naive", tail=0.025) for s in range(20)]
        return sum(bound.high - bound.low for bound in bounds)

    assert width(60, 8) < 0.7 * width(60, 4)
    assert width(120, 4) > 0.9 * width(60, 4)


@given(st.lists(st.lists(st.floats(0.1, 100), min_size=3, max_size=3), min_size=4, max_size=9), st.floats(0.5, 2))
def test_a_constant_difference_has_no_width(theirs: list[list[float]], factor: float) -> None:
    """For any sizes, an equal relative difference everywhere is certain."""
    table = np.array(theirs)
    bound = two_way_bound(_periods(factor * table, table), "naive", tail=0.01)
    assert (bound.low, bound.high) == (pytest.approx(factor - 1, abs=1e-6), pytest.approx(factor - 1, abs=1e-6))


def test_a_rival_without_loss_is_no_division() -> None:
    """It cannot be beaten."""
    bound = two_way_bound(_periods(np.ones((4, 12)), np.zeros((4, 12))), "naive", tail=0.025)
    assert (bound.low, bound.high) == (UNBOUNDED, UNBOUNDED)


def test_blocks_without_rows_are_not_counted() -> None:
    """For a segment sold by some stores, the interval is that of these stores."""
    random = np.random.default_rng(3)
    theirs = random.gamma(4, 5, (6, 12))
    ours = theirs * random.uniform(0.8, 1.2, (6, 12))
    nothing = np.zeros((6, 30))
    alone = two_way_bound(_periods(ours, theirs), "naive", tail=0.025)
    among = two_way_bound(_periods(np.hstack([ours, nothing]), np.hstack([theirs, nothing])), "naive", tail=0.025)
    assert (among.low, among.high) == (pytest.approx(alone.low), pytest.approx(alone.high))


@pytest.mark.parametrize("runs", [60, pytest.param(300, marks=pytest.mark.campaign)])
def test_bootstrap_the_interval_covers_the_truth_as_often_as_it_says(runs: int) -> None:
    """At a true difference of -10 %, about 95 % of 300 simulated evaluations with 60 blocks cover it.

    Both share the blocks' level, so that pairing matters. Three standard errors of a share of 300 at 0.95 are 3.8 points; the
    percentile interval is known to be slightly short at 60 blocks.
    """
    generator, inside = random.Random(11), 0
    for run in range(runs):
        blocks = []
        for i in range(60):
            level = generator.gammavariate(4, 5)
            theirs = level * generator.uniform(0.8, 1.2)
            ours = 0.9 * level * generator.uniform(0.8, 1.2)
            losses = {"candidate": ours, "naive": theirs}
            blocks.append(LossBlock(block=str(i), rows=1, actual_sum=1.0, absolute_error=losses))
        low, high = intervals(blocks, ["naive"], confidence=0.95, resamples=200, seed=run)["naive"]
        inside += low <= -0.1 <= high
    assert 0.90 <= inside / runs <= 0.99


def test_pairing_makes_the_interval_narrow() -> None:
    """With blocks of very different size and a constant difference, the paired interval has no width."""
    theirs = [float(10 ** (i % 4)) for i in range(40)]
    blocks = [
        LossBlock(block=str(i), rows=1, actual_sum=1.0, absolute_error={"candidate": 0.9 * t, "naive": t})
        for i, t in enumerate(theirs)
    ]
    low, high = intervals(blocks, ["naive"], confidence=0.95, resamples=200, seed=1)["naive"]
    assert (low, high) == (pytest.approx(-0.1), pytest.approx(-0.1))


def test_bootstrap_a_rival_without_loss_is_no_division() -> None:
    """Zero against zero is no difference."""
    assert (relative(0.0, 0.0), relative(1.0, 0.0), relative(3.0, 2.0)) == (0.0, UNBOUNDED, 0.5)


def _world(generator: random.Random, segments: int, blocks: int, factor: float) -> dict[str, dict[str, list[float]]]:
    """Return losses of segments with a true relative difference of ``factor - 1`` and a common level per block."""
    made = {}
    for segment in range(segments):
        levels = [generator.gammavariate(4, 5) for _ in range(blocks)]
        made[f"category={segment}"] = {
            "champion": [level * generator.uniform(0.8, 1.2) for level in levels],
            "candidate": [factor * level * generator.uniform(0.8, 1.2) for level in levels],
        }
    return made


def _refused(evaluation: Evaluation, limit: float, seed: int) -> bool:
    assert evaluation.segments is not None
    tail = 0.025 / len(evaluation.segments)
    bounds = segment_bounds(evaluation.blocks, evaluation.segments, "champion", tail=tail, resamples=100, seed=seed)
    return any(bound.low > limit for bound in bounds.values())


@pytest.mark.parametrize("runs", [20, pytest.param(200, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("blocks", [12, 60])
def test_a_candidate_at_the_limit_everywhere_is_seldom_refused(
    runs: int, blocks: int, evaluation: Callable[..., Evaluation]
) -> None:
    """Of 200 with twelve segments at the allowed 2 %, no more than the level of 2.5 % and three standard errors are rejected."""
    generator, refused = random.Random(3), 0
    for run in range(runs):
        segments = _world(generator, 12, blocks, 1.02)
        whole = {
            name: [sum(part[name][i] for part in segments.values()) for i in range(blocks)]
            for name in ("candidate", "champion")
        }
        refused += _refused(evaluation(whole, segments), 0.02, run)
    assert refused <= runs * 0.025 + 3 * (runs * 0.025 * 0.975) ** 0.5


def test_a_segment_much_worse_is_found_among_many(evaluation: Callable[..., Evaluation]) -> None:
    """One of twelve segments is 25 % worse: found in 30 of 30."""
    generator = random.Random(5)
    for run in range(30):
        segments = _world(generator, 12, 60, 1.0)
        segments["category=3"]["candidate"] = [1.25 * loss for loss in segments["category=3"]["candidate"]]
        whole = {
            name: [sum(part[name][i] for part in segments.values()) for i in range(60)]
            for name in ("candidate", "champion")
        }
        assert _refused(evaluation(whole, segments), 0.02, run)


def test_a_segment_may_lack_blocks(evaluation: Callable[..., Evaluation]) -> None:
    """A block without its rows adds nothing; a constant difference has no width if all blocks exist."""
    whole = {"candidate": [11.0] * 40, "champion": [10.0] * 40}
    part = {"candidate": [5.5] * 20, "champion": [5.0] * 20}
    made = evaluation(whole, {"promoted=1": part})
    assert made.segments is not None
    bound = segment_bounds(made.blocks, made.segments, "champion", tail=0.01, resamples=50, seed=1)["promoted=1"]
    assert (bound.low, bound.high) == (pytest.approx(0.1), pytest.approx(0.1))
