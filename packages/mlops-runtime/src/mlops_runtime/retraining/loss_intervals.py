"""Confidence intervals of relative loss differences: block bootstrap by segment, and two-way clustering by block and period."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import stdev

from mlops_runtime.contracts.model import LossBlock, PeriodLosses, SegmentLosses

_TINY = 1e-300
_PRECISION = 1e-14
_TERMS = 10_000
_HALVINGS = 200

CANDIDATE, CHAMPION = "candidate", "champion"
UNBOUNDED = 1e9  # relative difference to a rival without any loss; JSON has no infinity

MINIMUM_BLOCKS = 10  # with fewer, resamples of blocks underestimate the variance
MINIMUM_PERIODS = 4  # with fewer, intervals by Student's t are too wide for any conclusion


def student_quantile(share: float, degrees: float) -> float:
    """Return the quantile of Student's t distribution.

    Args:
        share: Between 0 and 1.
        degrees: Degrees of freedom, 1 or more.

    Example:
        >>> round(student_quantile(0.975, 20), 3)
        2.086
    """
    if share < 0.5:
        return -student_quantile(1 - share, degrees)
    low, high = 0.0, 1.0
    while _above(high, degrees) > 1 - share:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _above(middle, degrees) > 1 - share else (low, middle)
    return high


def _above(value: float, degrees: float) -> float:
    """Return the probability above a non-negative value."""
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + value * value)) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return min(1.0, max(0.0, x))
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )  # symmetric in both tails
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction by Lentz's method."""
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _apart(1 + term * d)
            c = _apart(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def _apart(value: float) -> float:
    """Return a value, or the smallest allowed divisor."""
    return value if abs(value) > _TINY else _TINY


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
    """Return the bounds of the relative loss difference to one rival in each segment, by name.

    All blocks are resampled, and a block without rows of a segment adds nothing to it, so that the segment's number of rows varies
    as in another holdout.

    Args:
        blocks: All blocks.
        segments: The segments; their blocks are among all blocks.
        rival: The compared model.
        tail: Error probability on each side of each interval, corrected for the number of intervals.
        resamples: Number of resamples.
        seed: Seed of the resampling.
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
    """Return (mine - theirs) / theirs; 0 if neither has a loss, `UNBOUNDED` if only the rival has none."""
    if theirs == 0:
        return 0.0 if mine == 0 else UNBOUNDED
    return (mine - theirs) / theirs


def is_comparable(segment: SegmentLosses) -> bool:
    """Return whether a segment has enough blocks, and enough periods if it has any, for an interval."""
    return len(segment.blocks) >= MINIMUM_BLOCKS and (
        segment.periods is None or len(segment.periods) >= MINIMUM_PERIODS
    )


def _resamples(count: int, resamples: int, seed: int) -> Iterator[list[int]]:
    generator = random.Random(seed)  # noqa: S311 - the resampling must be reproducible
    for _ in range(resamples):
        yield generator.choices(range(count), k=count)


def _quantile(ordered: Sequence[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def two_way_bound(periods: Sequence[PeriodLosses], rival: str, *, tail: float) -> Bound:
    """Return the bounds of the relative loss difference to a rival.

    Args:
        periods: The losses of each period by block, at least two of each.
        rival: The compared model.
        tail: Error probability on each side.

    Example:
        >>> losses = [{"candidate": (9.0, 18.0, 27.0 + week), "naive": (10.0, 20.0, 30.0)} for week in range(8)]
        >>> weeks = [PeriodLosses(period=str(week), absolute_error=part) for week, part in enumerate(losses)]
        >>> bound = two_way_bound(weeks, "naive", tail=0.025)
        >>> bound.low < -0.04 < bound.high
        True
    """
    ours = [period.absolute_error[CANDIDATE] for period in periods]
    theirs = [period.absolute_error[rival] for period in periods]
    mine, total = sum(map(math.fsum, ours)), sum(map(math.fsum, theirs))
    estimate = relative(mine, total)
    if total == 0:
        return Bound(low=estimate, high=estimate)
    # influence of each cell on the statistic
    cells = [
        [(own - (1 + estimate) * other) / total for own, other in zip(mine_of, theirs_of, strict=True)]
        for mine_of, theirs_of in zip(ours, theirs, strict=True)
    ]
    present = [
        block for block in range(len(ours[0])) if any(a[block] or b[block] for a, b in zip(ours, theirs, strict=True))
    ]
    by_block = _variance([math.fsum(row[block] for row in cells) for block in present])
    by_period = _variance([math.fsum(row) for row in cells])
    both = by_block + by_period - math.fsum(cell * cell for row in cells for cell in row)
    variance = max(by_block, by_period, both)
    if variance == 0:
        return Bound(low=estimate, high=estimate)
    fewest = min(len(present), len(cells)) - 1
    degrees = variance**2 / (by_block**2 / (len(present) - 1) + by_period**2 / (len(cells) - 1))
    reach = student_quantile(1 - tail, max(fewest, degrees)) * math.sqrt(variance)
    return Bound(low=estimate - reach, high=estimate + reach)


def _variance(sums: Sequence[float]) -> float:
    """Return the variance of a total of independent sums with mean zero."""
    return math.fsum(value * value for value in sums) * len(sums) / (len(sums) - 1)
