"""Losses per row, checked against their definitions.

Loss sums by block and segment: additive and bounded in number.
"""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.jobs.holdout_losses import (
    CLIP,
    MAXIMUM_SEGMENTS,
    Rows,
    block_losses,
    check_labels,
    is_prediction,
    normaliser,
    period_losses,
    row_losses,
    segment_losses,
)
from mlops_runtime.jobs.job_environment import JobError

PROBABILITIES = st.floats(0, 1, allow_nan=False)


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", None]), st.floats(-9, 9), st.floats(0, 9)),
    min_size=1,
    max_size=40,
)


@given(st.lists(st.tuples(PROBABILITIES, st.sampled_from([0.0, 1.0])), min_size=1, max_size=20))
def test_losses_of_probabilities_equal_their_definition(rows: list[tuple[float, float]]) -> None:
    """Brier is the squared error; log loss is minus the clipped logarithm of the true class's probability."""
    predicted, actual = (np.array(column) for column in zip(*rows, strict=True))
    assert row_losses("brier", predicted, actual).tolist() == pytest.approx([(p - y) ** 2 for p, y in rows])
    expected = [-math.log(min(1.0, max(CLIP, p if y else 1 - p))) for p, y in rows]
    assert row_losses("log_loss", predicted, actual).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["wape", "mae"])
def test_the_loss_of_a_number_is_its_absolute_error(metric: Any) -> None:
    """Both have the same losses with different denominators."""
    assert row_losses(metric, np.array([1.0, -2.0]), np.array([3.0, 1.0])).tolist() == [2.0, 3.0]
    assert normaliser("wape", rows=2, actual_sum=4.0) == 4.0
    assert normaliser(metric if metric == "mae" else "brier", rows=2, actual_sum=4.0) == 2.0


@pytest.mark.parametrize(
    ("metric", "given_rows"), [("wape", [True, True, False, False]), ("brier", [True, False, False, False])]
)
def test_what_is_no_prediction_has_no_loss(metric: Any, given_rows: list[bool]) -> None:
    """NaN and infinity, and for a probability values outside 0 to 1."""
    predictions = np.array([0.5, 1.5, math.nan, math.inf])
    assert is_prediction(metric, predictions).tolist() == given_rows
    losses = row_losses(metric, predictions, np.array([0.0, 0.0, 0.0, 0.0]))
    assert [loss > 0 for loss in losses] == given_rows


def test_a_certain_mistake_is_dear_but_finite() -> None:
    """34.5 per row."""
    assert row_losses("log_loss", np.array([1.0]), np.array([0.0])).tolist() == pytest.approx([34.538776])


@pytest.mark.parametrize(
    ("metric", "actual", "message"),
    [
        ("log_loss", [0.0, 2.0, 0.5], "label 'bought' must be 0 or 1 for log_loss, got 0.5, 2"),
        ("brier", [0.0, math.nan], "label 'bought' must be known for every holdout row, 1 of 2 are null or infinite"),
        ("wape", [0.0, 0.0], "label 'bought' is 0 in every holdout row: WAPE is not defined; use the metric mae"),
    ],
)
def test_fails_on_labels_that_cannot_be_measured_against(metric: Any, actual: list[float], message: str) -> None:
    """The error has the metric, the values and the allowed ones."""
    with pytest.raises(JobError) as caught:
        check_labels(metric, "bought", np.array(actual))
    assert str(caught.value) == message


def test_a_holdout_of_one_class_can_be_measured() -> None:
    """A probability still has a loss; so has a number if all labels are 0."""
    check_labels("log_loss", "bought", np.array([0.0, 0.0]))
    check_labels("mae", "units", np.array([0.0, 0.0]))


@settings(deadline=None)
@given(ROWS)
def test_the_segments_of_a_column_add_up_to_the_whole(rows: list[tuple[str, str | None, float, float]]) -> None:
    """Rows, labels and losses by block, over all values including null."""
    blocks, values, actual, loss = zip(*rows, strict=True)
    losses = {"candidate": np.array(loss)}
    values_of_week = [str(index % 3) for index in range(len(rows))]
    whole = block_losses(blocks, np.array(actual), losses)
    table = pa.table({"segment": pa.array(values, pa.string())})
    found = segment_losses(
        table, ["segment"], Rows(blocks=blocks, weights=np.array(actual), losses=losses, periods=values_of_week)
    )
    segments = found.measured
    assert found.left_out == ()
    assert {segment.value for segment in segments} == {"null" if value is None else value for value in values}
    for block in whole:
        parts = [part for segment in segments for part in segment.blocks if part.block == block.block]
        assert sum(part.rows for part in parts) == block.rows
        assert sum(part.actual_sum for part in parts) == pytest.approx(block.actual_sum)
        assert sum(part.absolute_error["candidate"] for part in parts) == pytest.approx(
            block.absolute_error["candidate"]
        )
    for segment in segments:
        assert segment.periods is not None
        for index, part in enumerate(segment.blocks):
            apart = sum(period.absolute_error["candidate"][index] for period in segment.periods)
            assert apart == pytest.approx(part.absolute_error["candidate"])


def _many(values: int) -> tuple[Any, Rows]:
    names = [str(i) for i in range(values) for _ in range(i + 1)]
    promoted = [i % 50 == 0 for i in range(len(names))]
    actual = np.ones(len(names))
    return pa.table({"store": names, "promoted": promoted}), _rows(len(names), actual)


def _rows(count: int, values: Any) -> Rows:
    return Rows(blocks=["b"] * count, weights=values, losses={"candidate": values})


def test_a_column_with_few_values_is_whole_beside_one_with_many() -> None:
    """Segments are taken by size from each column in turn; the rest is named."""
    table, rows = _many(40)
    found = segment_losses(table, ["store", "promoted"], rows)
    names, left = [segment.name for segment in found.measured], found.left_out
    assert names[:5] == ["store=39", "promoted=false", "store=38", "promoted=true", "store=37"]
    assert len(names) == MAXIMUM_SEGMENTS
    assert len(left) == 42 - MAXIMUM_SEGMENTS
    assert left[-1] == "store=0"


def test_a_flag_is_written_the_same_after_a_join_with_nulls() -> None:
    """An integer that became a double, and a null."""
    table = pa.table({"flag": pa.array([1.0, 0.0, None, 0.5])})
    segments = segment_losses(table, ["flag"], _rows(4, np.ones(4))).measured
    assert sorted(segment.value for segment in segments) == ["0", "0.5", "1", "null"]


def test_fails_on_a_column_that_is_a_number() -> None:
    """A price is not a segment."""
    table = pa.table({"price": [float(i) / 7 for i in range(1001)]})
    with pytest.raises(JobError, match="segment column 'price' must have at most 1000 values, got 1001"):
        segment_losses(table, ["price"], _rows(1001, np.ones(1001)))


def test_periods_keep_apart_what_blocks_lost() -> None:
    """In the blocks' order, each period once, 0 for blocks without rows."""
    losses = {"candidate": np.array([1.0, 2.0, 4.0, 8.0])}
    blocks = block_losses(["b", "a", "b", "b"], np.ones(4), losses)
    periods = period_losses(["2", "1", "1", "2"], ["b", "a", "b", "b"], losses, blocks)
    assert [block.block for block in blocks] == ["a", "b"]
    assert [(period.period, period.absolute_error["candidate"]) for period in periods] == [
        ("1", (2.0, 4.0)),
        ("2", (0.0, 9.0)),
    ]


def test_numbers_are_cut_into_bands() -> None:
    """A value at a limit is above it, a null in no band; bands exist next to columns, and add up to the whole."""
    table = pa.table({"sold": [0.0, 4.9, 5.0, 19.0, 20.0, None], "flag": [1, 1, 1, 0, 0, 0]})
    segments = segment_losses(table, ["flag"], _rows(6, np.ones(6)), bands={"sold": (5, 20.5)}).measured
    assert {segment.name: segment.rows for segment in segments if segment.column == "sold"} == {
        "sold=5 to 20.5": 3,
        "sold=below 5": 2,
        "sold=null": 1,
    }
    assert {segment.column for segment in segments} == {"flag", "sold"}


def test_fails_for_a_band_of_texts() -> None:
    """The error names the column."""
    with pytest.raises(JobError, match="column 'sold' must be numeric, got string"):
        segment_losses(pa.table({"sold": ["a"]}), [], _rows(1, np.ones(1)), bands={"sold": (5,)})


def test_what_is_too_rare_for_an_interval_is_pooled_and_summed() -> None:
    """Below ten blocks or four periods: one pooled segment per column, and each value's own sums."""
    stores = np.repeat(np.arange(20), 4)
    values = ["large" if store < 12 else "rare" if store < 16 else "scarce" for store in stores]
    actual = np.full(80, 5.0)
    losses = {"candidate": np.ones(80), "champion": np.full(80, 2.0), "naive": np.full(80, 3.0)}
    rows = Rows(
        blocks=[str(store) for store in stores],
        weights=actual,
        losses=losses,
        periods=[str(i % 4) for i in range(80)],
        by_period=("candidate", "champion"),
        actual=actual.reshape(-1, 1),
        predicted={"candidate": np.full((80, 1), 4.0), "champion": np.full((80, 1), 6.0)},
    )
    found = segment_losses(pa.table({"size": values}), ["size"], rows)
    assert [(pool.name, pool.rows, len(pool.blocks)) for pool in found.pooled] == [("size=(small)", 32, 8)]
    assert [segment.name for segment in found.sums] == ["size=large", "size=rare", "size=scarce"]
    rare = found.sums[1]
    assert (rare.rows, rare.actual_sum, rare.actual) == (16, 80.0, (80.0,))
    assert rare.absolute_error == {"candidate": 16.0, "champion": 32.0}
    assert rare.predicted == {"candidate": (64.0,), "champion": (96.0,)}


def test_what_is_left_out_is_pooled_too() -> None:
    """For any number of blocks: only the largest are measured separately."""
    values = [str(i % 30) for i in range(30 * 20)]
    count = len(values)
    rows = Rows(
        blocks=[str(i // 30) for i in range(count)], weights=np.ones(count), losses={"candidate": np.ones(count)}
    )
    found = segment_losses(pa.table({"store": values}), ["store"], rows)
    assert (len(found.left_out), len(found.sums)) == (30 - MAXIMUM_SEGMENTS, 30)
    left = [segment for segment in found.sums if segment.name in found.left_out]
    assert found.pooled[0].rows == sum(segment.rows for segment in left) == 20 * 6
    assert all(segment.actual is None and segment.predicted is None for segment in found.sums)
