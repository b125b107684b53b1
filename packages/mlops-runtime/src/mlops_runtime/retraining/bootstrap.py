"""Paired block bootstrap of relative loss differences: over all rows, and by segment with a correction for their number.

Rows of one block (a store, a week) are not independent, so whole blocks are drawn with replacement, the same ones for the candidate
and every rival. The statistic is (candidate loss - rival loss) / rival loss; on the same rows the denominators of every metric
cancel. Standard library only.

Over all rows the interval is the percentile interval of the resamples. By segment there are few blocks and the wanted quantiles
lie far out, where percentiles of resamples are both coarse and too narrow: there the interval is the estimate plus and minus
Student's t, with as many degrees of freedom as there are blocks but one, times the bootstrap's standard error.

See: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapters 12 and 13; for blocks H. Kuensch, Annals of
Statistics 17 (1989); for few blocks T. Hesterberg, What Teachers Should Know About the Bootstrap, The American
Statistician 69 (2015). Where rows also depend on each other by period, `two_way` is honest and this is not.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import stdev

from mlops_runtime.contracts.model import LossBlock, SegmentLosses
from mlops_runtime.retraining.student import student_quantile

CANDIDATE = "candidate"
UNBOUNDED = 1e9  # the relative difference to a rival without any loss; JSON has no infinity


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """An interval of a relative loss difference."""

    low: float
    high: float


def intervals(
    blocks: Sequence[LossBlock], rivals: Sequence[str], *, confidence: float, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return the interval of the relative loss difference to each rival.

    Example:
        >>> blocks = [LossBlock(block=str(i), rows=10, actual_sum=100.0,
        ...                     absolute_error={"candidate": 10.0 + i % 3, "naive": 20.0 + i % 3}) for i in range(50)]
        >>> low, high = intervals(blocks, ["naive"], confidence=0.95, resamples=500, seed=7)["naive"]
        >>> -0.5 < low < high < -0.45
        True
    """
    ours = [block.absolute_error[CANDIDATE] for block in blocks]
    theirs = {rival: [block.absolute_error[rival] for block in blocks] for rival in rivals}
    draws: dict[str, list[float]] = {rival: [] for rival in rivals}
    for chosen in _resamples(len(blocks), resamples, seed):
        mine = sum([ours[i] for i in chosen])
        for rival in rivals:
            losses = theirs[rival]
            draws[rival].append(relative(mine, sum([losses[i] for i in chosen])))
    tail = (1 - confidence) / 2
    return {rival: (_quantile(sorted(d), tail), _quantile(sorted(d), 1 - tail)) for rival, d in draws.items()}


def segment_bounds(
    blocks: Sequence[LossBlock],
    segments: Sequence[SegmentLosses],
    rival: str,
    *,
    tail: float,
    resamples: int,
    seed: int,
) -> dict[str, Bound]:
    """Return the bounds of the relative loss difference to one rival in each segment, by its name.

    The blocks of the whole are drawn, and a block without rows of a segment adds nothing to it: how many of its rows there are
    varies as it would in another holdout.

    Args:
        blocks: The blocks of the whole.
        segments: The segments; their blocks are among those of the whole.
        rival: Whom the candidate is compared with.
        tail: Share of error on each side of each interval, correction for their number included.
        resamples: How often blocks are drawn.
        seed: Of the draws.
    """
    place = {block.block: index for index, block in enumerate(blocks)}
    losses = {}
    for segment in segments:
        ours, theirs = [0.0] * len(blocks), [0.0] * len(blocks)
        for part in segment.blocks:
            ours[place[part.block]], theirs[place[part.block]] = (
                part.absolute_error[CANDIDATE],
                part.absolute_error[rival],
            )
        losses[segment.name] = (ours, theirs)
    draws: dict[str, list[float]] = {name: [] for name in losses}
    for chosen in _resamples(len(blocks), resamples, seed):
        for name, (ours, theirs) in losses.items():
            draws[name].append(relative(sum([ours[i] for i in chosen]), sum([theirs[i] for i in chosen])))
    bounds = {}
    for segment in segments:
        ours, theirs = losses[segment.name]
        count = len(segment.blocks)
        reach = student_quantile(1 - tail, count - 1) * stdev(draws[segment.name]) * math.sqrt(count / (count - 1))
        estimate = relative(sum(ours), sum(theirs))
        bounds[segment.name] = Bound(low=estimate - reach, high=estimate + reach)
    return bounds


def relative(mine: float, theirs: float) -> float:
    """Return (mine - theirs) / theirs; 0 where neither has a loss, `UNBOUNDED` where only the rival has none."""
    if theirs == 0:
        return 0.0 if mine == 0 else UNBOUNDED
    return (mine - theirs) / theirs


def _resamples(count: int, resamples: int, seed: int) -> Iterator[list[int]]:
    generator = random.Random(seed)  # noqa: S311 - a seeded draw that anyone can repeat is what is wanted
    for _ in range(resamples):
        yield generator.choices(range(count), k=count)


def _quantile(ordered: Sequence[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
