"""Loss sums by block and segment: they add up, and they are bounded."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.jobs.optml import JobError
from mlops_runtime.jobs.segments import MAXIMUM_SEGMENTS, Rows, block_losses, period_losses, segment_losses

ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", None]), st.floats(-9, 9), st.floats(0, 9)),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(ROWS)
def test_the_segments_of_a_column_add_up_to_the_whole(rows: list[tuple[str, str | None, float, float]]) -> None:
    """Rows, labels and losses by block, over all values, null among them."""
    blocks, values, actual, loss = zip(*rows, strict=True)
    losses = {"candidate": np.array(loss)}
    values_of_week = [str(index % 3) for index in range(len(rows))]
    whole = block_losses(blocks, np.array(actual), losses)
    table = pa.table({"segment": pa.array(values, pa.string())})
    segments, left = segment_losses(
        table, ["segment"], Rows(blocks=blocks, actual=np.array(actual), losses=losses, periods=values_of_week)
    )
    assert left == ()
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
    return Rows(blocks=["b"] * count, actual=values, losses={"candidate": values})


def test_a_column_with_few_values_is_whole_beside_one_with_many() -> None:
    """The largest of each column in turn; the rest is named."""
    table, rows = _many(40)
    segments, left = segment_losses(table, ["store", "promoted"], rows)
    names = [segment.name for segment in segments]
    assert names[:5] == ["store=39", "promoted=false", "store=38", "promoted=true", "store=37"]
    assert len(names) == MAXIMUM_SEGMENTS
    assert len(left) == 42 - MAXIMUM_SEGMENTS
    assert left[-1] == "store=0"


def test_a_flag_is_written_the_same_after_a_join_with_nulls() -> None:
    """A whole number that became a double, and a null."""
    table = pa.table({"flag": pa.array([1.0, 0.0, None, 0.5])})
    segments, _ = segment_losses(table, ["flag"], _rows(4, np.ones(4)))
    assert sorted(segment.value for segment in segments) == ["0", "0.5", "1", "null"]


def test_fails_on_a_column_that_is_a_number() -> None:
    """A price is no segment."""
    table = pa.table({"price": [float(i) / 7 for i in range(1001)]})
    with pytest.raises(JobError, match="segment column 'price' must have at most 1000 values, got 1001"):
        segment_losses(table, ["price"], _rows(1001, np.ones(1001)))


def test_periods_keep_apart_what_blocks_lost() -> None:
    """In the blocks' order, each period once, 0 where a block has no row."""
    losses = {"candidate": np.array([1.0, 2.0, 4.0, 8.0])}
    blocks = block_losses(["b", "a", "b", "b"], np.ones(4), losses)
    periods = period_losses(["2", "1", "1", "2"], ["b", "a", "b", "b"], losses, blocks)
    assert [block.block for block in blocks] == ["a", "b"]
    assert [(period.period, period.absolute_error["candidate"]) for period in periods] == [
        ("1", (2.0, 4.0)),
        ("2", (0.0, 9.0)),
    ]


def test_numbers_are_cut_into_bands() -> None:
    """One at a limit lies above it, a null in none; bands are beside columns, and all are the whole."""
    table = pa.table({"sold": [0.0, 4.9, 5.0, 19.0, 20.0, None], "flag": [1, 1, 1, 0, 0, 0]})
    segments, _ = segment_losses(table, ["flag"], _rows(6, np.ones(6)), bands={"sold": (5, 20.5)})
    assert {segment.name: segment.rows for segment in segments if segment.column == "sold"} == {
        "sold=5 to 20.5": 3,
        "sold=below 5": 2,
        "sold=null": 1,
    }
    assert {segment.column for segment in segments} == {"flag", "sold"}


def test_fails_for_a_band_of_texts() -> None:
    """By name."""
    with pytest.raises(JobError, match="column 'sold' must be numeric, got string"):
        segment_losses(pa.table({"sold": ["a"]}), [], _rows(1, np.ones(1)), bands={"sold": (5,)})
