"""Invalid evidence: incomplete, inconsistent, of the wrong time, or beyond the absolute limits."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.model import Evaluation, PeriodLosses, SegmentSums
from mlops_runtime.contracts.retraining import GateSpec, SegmentLimit
from mlops_runtime.retraining.evaluation_evidence import may_overlap_holdout, problems

SPEC = GateSpec()
NOW = datetime(2017, 8, 2, tzinfo=UTC)
Make = Callable[..., Evaluation]


def _noisy(seed: int, level: float, count: int = 60) -> list[float]:
    generator = random.Random(seed)
    return [max(0.1, generator.gauss(level, 3)) for _ in range(count)]


GOOD = {"candidate": _noisy(1, 20), "naive": _noisy(2, 30)}
HALF = {"promoted=1": {name: [loss / 2 for loss in losses] for name, losses in GOOD.items()}}


@st.composite
def _cuts(draw: st.DrawFn, *, has_known_times: bool) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Draw a champion's training rows and a later holdout of one table, as (time, time at which the label was known)."""
    delays = draw(st.lists(st.integers(1, 3) if has_known_times else st.just(0), min_size=12, max_size=12))
    kept = draw(st.lists(st.booleans(), min_size=12, max_size=12))
    rows = [(time, time + delay) for time, (delay, is_kept) in enumerate(zip(delays, kept, strict=True)) if is_kept]
    before, after = draw(st.integers(1, 11)), draw(st.integers(1, 11))
    return [row for row in rows if row[0] < before and row[1] <= before], [row for row in rows if row[0] >= after]


def _was_trained_on(trained: list[tuple[int, int]], held: list[tuple[int, int]], *, has_times_of_rows: bool) -> bool:
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    times = (max(row[1] for row in trained), min(row[0] for row in held), max(row[1] for row in held))
    until, first, last = ((begin + timedelta(days=time)).isoformat() for time in times)
    return may_overlap_holdout(until, first, last, has_times_of_rows=has_times_of_rows)


@given(_cuts(has_known_times=True))
def test_a_champion_that_has_seen_a_row_of_the_holdout_is_recognised(
    cuts: tuple[list[tuple[int, int]], list[tuple[int, int]]],
) -> None:
    """A row in both is never missed, and a champion of an earlier cutoff is never excluded."""
    trained, held = cuts
    if not trained or not held:
        return
    known = _was_trained_on(trained, held, has_times_of_rows=False)
    assert known or not set(trained) & set(held)
    assert not known or max(row[1] for row in trained) > held[0][0]


@given(_cuts(has_known_times=False))
def test_rows_of_the_newest_time_that_was_trained_on_are_known(
    cuts: tuple[list[tuple[int, int]], list[tuple[int, int]]],
) -> None:
    """A published set has its rows' times, so the holdout may start with the same rows."""
    trained, held = cuts
    if not trained or not held:
        return
    assert _was_trained_on(trained, held, has_times_of_rows=True) is (trained[-1][0] >= held[0][0])


def test_what_is_not_a_time_is_left_to_the_gate() -> None:
    """It rejects such an evaluation."""
    assert not may_overlap_holdout("later", "2024-01-01", "2024-02-01", has_times_of_rows=True)


def test_a_sound_evaluation_has_no_problem(evaluation: Make) -> None:
    """With segments, times and latency too."""
    spec = replace(
        SPEC,
        metric="wape",
        minimum_loss=0.05,
        maximum_loss=0.5,
        max_milliseconds_a_row=2.0,
        max_slowdown=2.0,
        max_holdout_age_days=1,
        segments={"promoted=1": SegmentLimit(maximum_loss=0.5, minimum_rows=300)},
    )
    times = {"candidate": 1.5, "champion": 1.0}
    assert problems(evaluation(GOOD, HALF, milliseconds_a_row=times, distinct_predictions=40), spec, NOW) == []


@pytest.mark.parametrize(
    ("changes", "limits", "message"),
    [
        ({"non_finite": {"candidate": 1}}, {}, "candidate has no finite prediction for 1 rows"),
        ({"non_finite": {"naive": 2}}, {}, "naive has no finite prediction for 2 rows"),
        ({}, {"minimum_rows": 601}, "600 rows are fewer than the minimum 601"),
        ({}, {"maximum_loss": 0.1}, "the candidate's wape 0.2028 is above the maximum 0.1000"),
        ({}, {"minimum_loss": 0.25}, "the candidate's wape 0.2028 is below the minimum 0.2500: too good to be true"),
        ({}, {"metric": "brier"}, "the evaluation measures wape, but the gate's limits are for brier"),
        ({"metrics": {"candidate": math.nan, "naive": 0.3}}, {}, "the candidate's wape is nan"),
        ({"metrics": {"naive": 0.3}}, {}, "the evaluation has no candidate"),
        ({"metrics": {"candidate": 0.01, "naive": 0.3}}, {}, "wape of candidate is 0.01, but its blocks give"),
        ({"rows": 599}, {"minimum_rows": 1}, "the blocks have 600 rows, the evaluation has 599"),
        ({"failures": ("a model must repeat itself",)}, {}, "a model must repeat itself"),
        ({"distinct_predictions": 1}, {}, "the candidate predicts the same value for all of 600 rows"),
        ({}, {"max_slowdown": 2.0}, "the evaluation did not measure the candidate's time for a row"),
        (
            {"milliseconds_a_row": {"candidate": 3.0}},
            {"max_milliseconds_a_row": 2.0},
            "the candidate takes 3.00 ms for a row, at most 2.00 ms are allowed",
        ),
        (
            {"milliseconds_a_row": {"candidate": 3.0, "champion": 1.0}},
            {"max_slowdown": 2.0},
            "the candidate takes 3.00 ms for a row and the champion 1.00 ms in the same job, at most 2 times as long is allowed",
        ),
        (
            {"trained_until": "2017-07-02"},
            {},
            "trained with what was known until 2017-07-02, measured on labels from 2017-07-01 to 2017-08-01: trained on the future",
        ),
        (
            {"holdout_until": "2017-07-01"},
            {},
            "measured on labels from 2017-07-01 to 2017-07-01: trained on the future",
        ),
        ({"holdout_until": "2017-09-01T00:00:00Z"}, {}, "the holdout ends at 2017-09-01T00:00:00Z, after the decision"),
        (
            {"holdout_until": "2017-07-25"},
            {"max_holdout_age_days": 7},
            "the holdout ended 8.0 days before the decision, at most 7 are allowed",
        ),
        ({"holdout_from": "last week"}, {}, "holdout_from must be an ISO 8601 time, got 'last week'"),
    ],
)
def test_fails_with_the_reason(changes: dict[str, Any], limits: dict[str, Any], message: str, evaluation: Make) -> None:
    """Missing predictions, too little data, wrong time, too much or too little loss, inconsistent numbers."""
    found = problems(evaluation(GOOD, **changes), replace(SPEC, **limits), NOW)
    assert any(message in problem for problem in found), found


def test_a_mean_is_checked_against_rows(evaluation: Make) -> None:
    """For a mean per row nothing is relative to the labels."""
    made = evaluation(GOOD, metric="brier")
    mean = {name: sum(losses) / 600 for name, losses in GOOD.items()}
    empty = tuple(replace(block, actual_sum=0.0) for block in made.blocks)
    assert problems(replace(made, metrics=mean, blocks=empty), SPEC, NOW) == []
    assert "brier of candidate is" in problems(made, SPEC, NOW)[0]


def test_fails_without_a_baseline(evaluation: Make) -> None:
    """Without a naive comparison a model has shown nothing."""
    losses = {"candidate": _noisy(1, 20), "champion": _noisy(2, 30)}
    assert problems(evaluation(losses), SPEC, NOW) == ["the evaluation has no naive baseline to beat"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_fails_when_a_block_is_broken(value: float, evaluation: Make) -> None:
    """An invalid loss is a failure, never zero."""
    made = evaluation(GOOD)
    broken = replace(made.blocks[3], absolute_error={"candidate": value, "naive": 1.0})
    found = problems(replace(made, blocks=(*made.blocks[:3], broken, *made.blocks[4:])), SPEC, NOW)
    assert found == ["block '3' has a loss or a total that is negative or not finite"]


def test_fails_when_a_block_lacks_a_rival_or_comes_twice(evaluation: Make) -> None:
    """A rival missing in some blocks cannot be compared in pairs; a duplicate block would be drawn too often."""
    made = evaluation(GOOD)
    broken = replace(made.blocks[0], absolute_error={"candidate": 1.0})
    assert problems(replace(made, blocks=(broken, *made.blocks[1:])), SPEC, NOW) == [
        "block '0' does not have the losses of candidate, naive"
    ]
    twice = replace(made, blocks=(made.blocks[1], *made.blocks[1:]))
    assert "a block is duplicated" in problems(twice, SPEC, NOW)


def test_fails_when_there_is_nothing_to_predict(evaluation: Make) -> None:
    """A relative error needs labels other than 0."""
    made = evaluation(GOOD)
    blocks = tuple(replace(block, actual_sum=0.0) for block in made.blocks)
    assert "sum to 0" in problems(replace(made, blocks=blocks), SPEC, NOW)[0]


@pytest.mark.parametrize(
    ("limits", "changes", "message"),
    [
        (
            {"promoted=1": SegmentLimit(maximum_loss=0.19)},
            {},
            "the candidate's wape 0.2028 where promoted=1 is above the maximum 0.1900",
        ),
        (
            {"promoted=1": SegmentLimit(minimum_rows=301)},
            {},
            "300 rows where promoted=1 are fewer than the minimum 301",
        ),
        ({"promoted=0": SegmentLimit()}, {}, "segment promoted=0 has limits but no rows in the holdout"),
        (
            {"store=7": SegmentLimit()},
            {"segments_left_out": ("store=7",)},
            "segment store=7 has limits but too few rows to be among those that are measured",
        ),
    ],
)
def test_fails_where_a_segment_breaks_its_own_limit(
    limits: dict[str, SegmentLimit], changes: dict[str, Any], message: str, evaluation: Make
) -> None:
    """A limit on a missing segment is not met."""
    found = problems(evaluation(GOOD, HALF, **changes), replace(SPEC, segments=limits), NOW)
    assert found == [message]


def test_fails_when_a_segment_does_not_fit_the_whole(evaluation: Make) -> None:
    """Unknown blocks, rows that do not add up, invalid losses."""
    made = evaluation(GOOD, HALF)
    assert made.segments is not None
    segment = made.segments[0]
    for changed, message in [
        (replace(segment, blocks=(replace(segment.blocks[0], block="x"), *segment.blocks[1:])), "do not have over all"),
        (replace(segment, rows=299), "has 299 rows, but its blocks have another number"),
        (
            replace(segment, blocks=(replace(segment.blocks[0], absolute_error={"candidate": 1.0}),)),
            "segment promoted=1: block '0' does not have the losses",
        ),
    ]:
        assert message in problems(replace(made, segments=(changed,)), SPEC, NOW)[0]


SMALL = SegmentSums(
    column="promoted", value="2", rows=300, actual_sum=1.0, absolute_error={"candidate": 1.0, "champion": 1.0}
)


@pytest.mark.parametrize(
    ("small", "message"),
    [
        ((replace(SMALL, rows=299),), "the small segments of promoted have 299 rows, but their pool has 300"),
        ((), "the small segments of promoted have 0 rows, but their pool has 300"),
        ((replace(SMALL, column="store"),), "the small segments of promoted have 0 rows, but their pool has 300"),
        ((replace(SMALL, rows=0),), "segment promoted=2 must have rows and the losses of candidate, champion"),
        ((replace(SMALL, absolute_error={"candidate": 1.0}),), "must have rows and the losses of candidate, champion"),
        ((replace(SMALL, actual_sum=-1.0),), "segment promoted=2 has a loss or a total that is negative or not finite"),
        (
            (replace(SMALL, actual=(1.0,), predicted={"candidate": (1.0,), "champion": ()}),),
            "segment promoted=2 must have a finite sum of each model's predictions for each mean of the labels",
        ),
    ],
)
def test_fails_when_segment_sums_are_not_those_that_are_pooled(
    small: tuple[SegmentSums, ...], message: str, evaluation: Make
) -> None:
    """Rows in only one of both, invalid losses, incomparable sums."""
    champion = [1.1 * loss for loss in GOOD["candidate"]]
    parts = {"promoted=1": HALF["promoted=1"] | {"champion": [loss / 2 for loss in champion]}}
    made = evaluation(GOOD | {"champion": champion}, parts, label_means=(1.0,))
    given = replace(made, pooled_segments=made.segments, segment_sums=small)
    assert message in "; ".join(problems(given, SPEC, NOW))
    whole = replace(SMALL, actual=(1.0,), predicted={"candidate": (1.0,), "champion": (1.0,)})
    assert not problems(replace(given, segment_sums=(whole,)), SPEC, NOW)


PERIODS = tuple(
    PeriodLosses(
        period=str(week), absolute_error={name: tuple(loss / 4 for loss in losses) for name, losses in GOOD.items()}
    )
    for week in range(4)
)


def _changed(name: str, losses: tuple[float, ...]) -> tuple[PeriodLosses, ...]:
    first, *others = PERIODS
    return replace(first, absolute_error={**first.absolute_error, name: losses}), *others


@pytest.mark.parametrize(
    ("periods", "message"),
    [
        ((PERIODS[0], *PERIODS[:3]), "the whole: a period is duplicated"),
        (_changed("candidate", (1.0,)), "the whole: a period does not have a loss of candidate for each of 60 blocks"),
        (_changed("naive", (math.nan,) * 60), "the whole: a period has a loss of naive that is negative or not finite"),
        (_changed("naive", (9.0,) * 60), "the whole: the loss of naive in block '0' is not the sum over periods"),
    ],
)
def test_periods_must_be_those_of_the_blocks(periods: tuple[PeriodLosses, ...], message: str, evaluation: Make) -> None:
    """Exactly those of the blocks."""
    assert problems(evaluation(GOOD, periods=PERIODS), SPEC, NOW) == []
    assert any(found.startswith(message) for found in problems(evaluation(GOOD, periods=periods), SPEC, NOW))


def test_segments_have_periods_where_the_whole_has_them(evaluation: Make) -> None:
    """Otherwise their intervals would be of another kind."""
    found = problems(evaluation(GOOD, HALF, periods=PERIODS), SPEC, NOW)
    assert found == ["segment promoted=1 must have periods if and only if the evaluation has them"]
