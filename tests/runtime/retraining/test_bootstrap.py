"""The bootstrap: that its intervals cover what they say, over all and by segment."""

import random
from collections.abc import Callable

import pytest

from mlops_runtime.contracts.model import Evaluation, LossBlock
from mlops_runtime.retraining.bootstrap import UNBOUNDED, intervals, relative, segment_bounds


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """True difference -10 %; of 300 simulated evaluations with 60 blocks about 95 % must have it in their interval.

    The blocks' own level is shared by both, so that pairing matters. Three standard errors of a share of 300 at 0.95 are 3.8
    points; the percentile interval is known to be a little short at 60 blocks.
    """
    generator, inside, runs = random.Random(11), 0, 300
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
    """Blocks of very different size, a constant difference: the paired interval has no width at all."""
    theirs = [float(10 ** (i % 4)) for i in range(40)]
    blocks = [
        LossBlock(block=str(i), rows=1, actual_sum=1.0, absolute_error={"candidate": 0.9 * t, "naive": t})
        for i, t in enumerate(theirs)
    ]
    low, high = intervals(blocks, ["naive"], confidence=0.95, resamples=200, seed=1)["naive"]
    assert (low, high) == (pytest.approx(-0.1), pytest.approx(-0.1))


def test_a_rival_without_loss_is_no_division() -> None:
    """Nothing against nothing is no difference."""
    assert (relative(0.0, 0.0), relative(1.0, 0.0), relative(3.0, 2.0)) == (0.0, UNBOUNDED, 0.5)


def _world(generator: random.Random, segments: int, blocks: int, factor: float) -> dict[str, dict[str, list[float]]]:
    """Return losses of segments whose true relative difference is ``factor - 1``; each block's level is shared."""
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


@pytest.mark.parametrize("blocks", [12, 60])
def test_a_candidate_at_the_limit_everywhere_is_seldom_refused(
    blocks: int, evaluation: Callable[..., Evaluation]
) -> None:
    """Twelve segments, each 2 % worse where 2 % are allowed: of 200 no more than the level of 2.5 % and three standard errors."""
    generator, refused = random.Random(3), 0
    for run in range(200):
        segments = _world(generator, 12, blocks, 1.02)
        whole = {
            name: [sum(part[name][i] for part in segments.values()) for i in range(blocks)]
            for name in ("candidate", "champion")
        }
        refused += _refused(evaluation(whole, segments), 0.02, run)
    assert refused <= 200 * 0.025 + 3 * (200 * 0.025 * 0.975) ** 0.5


def test_a_segment_much_worse_is_found_among_many(evaluation: Callable[..., Evaluation]) -> None:
    """One of twelve segments 25 % worse, the others equal: found in 30 of 30."""
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
    """A block without its rows adds nothing; a constant difference has no width where all blocks are there."""
    whole = {"candidate": [11.0] * 40, "champion": [10.0] * 40}
    part = {"candidate": [5.5] * 20, "champion": [5.0] * 20}
    made = evaluation(whole, {"promoted=1": part})
    assert made.segments is not None
    bound = segment_bounds(made.blocks, made.segments, "champion", tail=0.01, resamples=50, seed=1)["promoted=1"]
    assert (bound.low, bound.high) == (pytest.approx(0.1), pytest.approx(0.1))
