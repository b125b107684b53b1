"""Loss sums by block and segment: they add up, and they are bounded."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.jobs.optml import JobError
from mlops_runtime.jobs.segments import MAXIMUM_SEGMENTS, block_losses, segment_losses

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
    whole = block_losses(blocks, np.array(actual), losses)
    table = pa.table({"segment": pa.array(values, pa.string())})
    segments, left = segment_losses(table, ["segment"], blocks, np.array(actual), losses)
    assert left == ()
    assert {segment.value for segment in segments} == {"null" if value is None else value for value in values}
    for block in whole:
        parts = [part for segment in segments for part in segment.blocks if part.block == block.block]
        assert sum(part.rows for part in parts) == block.rows
        assert sum(part.actual_sum for part in parts) == pytest.approx(block.actual_sum)
        assert sum(part.absolute_error["candidate"] for part in parts) == pytest.approx(
            block.absolute_error["candidate"]
        )


def _many(values: int) -> tuple[Any, list[str], Any, dict[str, Any]]:
    names = [str(i) for i in range(values) for _ in range(i + 1)]
    promoted = [i % 50 == 0 for i in range(len(names))]
    actual = np.ones(len(names))
    return pa.table({"store": names, "promoted": promoted}), ["b"] * len(names), actual, {"candidate": actual}


def test_a_column_with_few_values_is_whole_beside_one_with_many() -> None:
    """The largest of each column in turn; the rest is named."""
    table, blocks, actual, losses = _many(40)
    segments, left = segment_losses(table, ["store", "promoted"], blocks, actual, losses)
    names = [segment.name for segment in segments]
    assert names[:5] == ["store=39", "promoted=false", "store=38", "promoted=true", "store=37"]
    assert len(names) == MAXIMUM_SEGMENTS
    assert len(left) == 42 - MAXIMUM_SEGMENTS
    assert left[-1] == "store=0"


def test_a_flag_is_written_the_same_after_a_join_with_nulls() -> None:
    """A whole number that became a double, and a null."""
    table = pa.table({"flag": pa.array([1.0, 0.0, None, 0.5])})
    segments, _ = segment_losses(table, ["flag"], ["b"] * 4, np.ones(4), {"candidate": np.ones(4)})
    assert sorted(segment.value for segment in segments) == ["0", "0.5", "1", "null"]


def test_fails_on_a_column_that_is_a_number() -> None:
    """A price is no segment."""
    table = pa.table({"price": [float(i) / 7 for i in range(1001)]})
    with pytest.raises(JobError, match="segment column 'price' must have at most 1000 values, got 1001"):
        segment_losses(table, ["price"], ["b"] * 1001, np.ones(1001), {"candidate": np.ones(1001)})
