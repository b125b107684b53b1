"""Comparisons by segment: pooling, the power and limits of sum ratios, and uncovered rows."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from mlops_runtime.contracts.model import Evaluation, SegmentLosses, SegmentSums
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.retraining.segment_checks import coverage, coverage_text, segment_checks

Make = Callable[..., Evaluation]
SPEC = GateSpec()
LOSSES = {"candidate": [10.0] * 30, "champion": [10.0] * 30, "naive": [20.0] * 30}
HALF = {name: [loss / 2 for loss in losses] for name, losses in LOSSES.items()}


def _small(value: str = "a", rows: int = 25, **changes: Any) -> SegmentSums:
    made = SegmentSums(
        column="category",
        value=value,
        rows=rows,
        actual_sum=10.0 * rows,
        absolute_error={"candidate": 2.0 * rows, "champion": 2.0 * rows},
        actual=(10.0 * rows,),
        predicted={"candidate": (9.5 * rows,), "champion": (9.0 * rows,)},
    )
    return replace(made, **changes)


def _sums(ours: float, theirs: float) -> Mapping[str, tuple[float, ...]]:
    return {"candidate": (ours,), "champion": (theirs,)}


def _pool(evaluation: Make, *small: SegmentSums, factor: float = 1.0) -> Evaluation:
    """Return an evaluation with one large category in one half and small ones in the other."""
    losses = {name: [factor * loss if name == "candidate" else loss for loss in HALF[name]] for name in HALF}
    made = evaluation(LOSSES, {"category=large": HALF, "category=(small)": losses}, label_means=(10.0,))
    large, pool = made.segments or ()
    return replace(made, segments=(large,), pooled_segments=(pool,), segment_sums=small)


def test_segment_sums_are_compared_together(evaluation: Make) -> None:
    """Worse by a fifth in all of them is found, though none has its own interval."""
    checks = segment_checks(_pool(evaluation, _small(rows=150), factor=1.2), SPEC)
    assert [(check.segment, check.passed) for check in checks] == [
        ("category=large", True),
        ("category=(small)", False),
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "is_found"),
    [
        (0.0, 240.0, True),  # nothing predicted where 250 were sold
        (120.0, 240.0, True),
        (500.0, 240.0, True),
        (170.0, 240.0, False),  # a third too low: good models of so few rows may differ as much
        (0.0, 40.0, False),  # less than chance: five mean labels
        (240.0, 120.0, False),  # twice the champion's, and nearer to the labels
    ],
)
def test_a_small_segment_is_held_to_the_sums_of_what_is_predicted(
    evaluation: Make, ours: float, theirs: float, is_found: bool
) -> None:
    """Gross errors of level are named with their numbers; differences within chance or nearer to the labels are not."""
    checks = segment_checks(_pool(evaluation, _small(predicted=_sums(ours, theirs))), SPEC)
    failed = [check for check in checks if not check.passed]
    assert bool(failed) is is_found
    if failed:
        assert failed[0].segment == "category=a"
        assert failed[0].low == failed[0].high == pytest.approx(ours / theirs - 1)
        assert f"predictions where category=a sum to {ours:.4g}, the champion's to {theirs:.4g}" in failed[0].reason


def test_a_segment_with_an_interval_is_held_to_its_sums_too(evaluation: Make) -> None:
    """With ten stores the interval may be too wide to show anything; predictions of one half are found nevertheless."""
    large = _small("large", rows=150, predicted=_sums(600.0, 1350.0))
    made = _pool(evaluation, large, _small(rows=150))
    assert [check.segment for check in segment_checks(made, SPEC) if not check.passed] == ["category=large"]
    (covered,) = coverage(made, segment_checks(made, SPEC))
    assert (covered.compared, covered.guarded) == (1, 1)


def test_fewer_rows_allow_more(evaluation: Make) -> None:
    """Two rows at 1.8 times the champion's are chance, eight are not; predicting nothing never is."""
    for rows, factor, is_found in ((2, 1.8, False), (8, 1.8, True), (2, 0.0, True)):
        sums = _sums(factor * 10.0 * rows, 10.0 * rows)
        small = _small(rows=rows, predicted=sums, actual=(10.0 * rows,))
        found = [check.segment for check in segment_checks(_pool(evaluation, small), SPEC) if not check.passed]
        assert bool(found) is is_found, rows


def test_the_unit_may_allow_another_ratio(evaluation: Make) -> None:
    """Wider and narrower than the default."""
    made = _pool(evaluation, _small(predicted=_sums(400.0, 240.0)))
    for ratio, is_passed in ((None, False), (1.25, False), (2.0, True)):
        checks = segment_checks(made, replace(SPEC, max_segment_ratio=ratio))
        assert all(check.passed for check in checks) is is_passed


def test_rows_that_are_wrong_and_add_up_are_found_by_their_loss(evaluation: Make) -> None:
    """At twice the champion's loss; not below, and not within the chance of few rows."""
    for rows, factor, is_found in ((25, 2.5, True), (25, 1.9, False), (1, 2.5, False)):
        losses = {"candidate": 2.0 * factor * rows, "champion": 2.0 * rows}
        checks = segment_checks(_pool(evaluation, _small(rows=rows, absolute_error=losses)), SPEC)
        assert any("loss where category=a" in check.reason for check in checks) is is_found


def test_probabilities_are_held_to_the_chance_of_their_labels(evaluation: Make) -> None:
    """None where 5 of 100 rows are expected may be chance; none where 50 of 1,000 are is not."""
    for rows, is_found in ((100, False), (1000, True)):
        small = _small(rows=rows, predicted=_sums(0.0, rows / 20), actual=(rows / 20,))
        made = replace(_pool(evaluation, small), metric="log_loss", label_means=(0.05,))
        assert any(not check.passed for check in segment_checks(made, SPEC)) is is_found


def test_sums_of_labels_that_may_be_negative_say_nothing(evaluation: Make) -> None:
    """Only the loss is compared."""
    made = replace(_pool(evaluation, _small(actual=None, predicted=None)), label_means=None)
    assert all(check.passed for check in segment_checks(made, SPEC))


def test_nothing_is_compared_without_a_champion_that_predicts(evaluation: Make) -> None:
    """Neither intervals nor sums, so nothing is covered."""
    made = replace(_pool(evaluation, _small(predicted=_sums(0.0, 240.0))), non_finite={"champion": 1})
    assert segment_checks(made, SPEC) == ()
    assert coverage(made, ()) == ()


def test_what_no_test_covers_is_named(evaluation: Make) -> None:
    """By rows and by target: in an own interval, in the pool's, or in none."""
    made = _pool(evaluation, _small(rows=150))
    found = coverage(made, segment_checks(made, SPEC))
    assert [(c.segments, c.compared, c.guarded, c.pooled_rows, c.untested_rows) for c in found] == [(1, 1, 1, 0.5, 0.0)]
    few = _few_blocks(made)
    (untested,) = coverage(few, segment_checks(few, SPEC))
    assert (untested.pooled_rows, untested.untested_rows, untested.untested_target) == (0.0, 0.5, 0.5)
    assert coverage_text(untested).endswith("no test covered 50.0% of rows and 50.0% of the target")


def _few_blocks(made: Evaluation) -> Evaluation:
    """Return an evaluation whose pool has too few blocks for an interval."""
    pool: SegmentLosses = (made.pooled_segments or ())[0]
    return replace(made, pooled_segments=(replace(pool, blocks=pool.blocks[:9]),))
