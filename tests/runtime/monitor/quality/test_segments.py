"""Segments: the largest of each column in turn, nulls by name."""

import numpy as np

from mlops_runtime.monitor.quality.rows import Rows, Texts
from mlops_runtime.monitor.quality.segments import MAXIMUM_SEGMENTS, segments_of


def rows_of(**columns: list[str | None]) -> Rows:
    """Return rows with columns."""
    size = np.ones(len(next(iter(columns.values()))))
    return Rows.of(size, size, columns={name: Texts.of(texts) for name, texts in columns.items()})


def test_each_row_is_in_one_segment_of_each_column() -> None:
    """The largest first, a null is a segment too, a column that the rows do not have is none."""
    rows = rows_of(store=["b", "a", None, "a"], kind=["x", "x", "x", "x"])
    found = [(name, len(part)) for name, part in segments_of(rows, ["store", "kind", "gone"])]
    assert found == [("store=a", 2), ("kind=x", 4), ("store=b", 1), ("store=null", 1)]


def test_a_column_with_few_values_is_whole_beside_one_with_many() -> None:
    """The number of segments is bounded."""
    rows = rows_of(many=[str(index) for index in range(60)], few=["u", "v"] * 30)
    names = [name for name, _ in segments_of(rows, ["many", "few"])]
    assert len(names) == MAXIMUM_SEGMENTS
    assert {"few=u", "few=v"} <= set(names)
