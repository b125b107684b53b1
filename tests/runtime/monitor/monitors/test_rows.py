"""Rows of predictions: texts as codes, and subsets of rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.monitors.rows import Rows, Texts

TEXTS = st.lists(st.none() | st.sampled_from(["a", "b", "1", "2.5", "x1"]), max_size=20)


@given(TEXTS)
def test_texts_are_kept_by_code(texts: list[str | None]) -> None:
    """Codes and values give back the input; `among` and `numbers` agree row by row."""
    column = Texts.of(texts)
    assert [None if code < 0 else column.values[code] for code in column.codes.tolist()] == texts
    assert column.among(["a", "1"]).tolist() == [text in ("a", "1") for text in texts]
    numbers = {"1": 1.0, "2.5": 2.5}
    expected = np.array([numbers.get(text or "", np.nan) for text in texts])
    np.testing.assert_array_equal(column.numbers(), expected)


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_a_part_of_the_rows_keeps_everything_together(mask: list[bool]) -> None:
    """Every column is cut at the same rows."""
    number = np.arange(len(mask), dtype=np.float64)
    rows = Rows(
        call=np.arange(len(mask)),
        prediction=number,
        label=number + 0.5,
        low=number - 1,
        high=number + 1,
        columns={"row": Texts.of([str(index) for index in range(len(mask))])},
    )
    part = rows.where(np.array(mask))
    kept = [index for index, keep in enumerate(mask) if keep]
    assert len(part) == len(kept)
    assert part.call.tolist() == kept
    assert (part.label - part.prediction).tolist() == [0.5] * len(kept)
    assert (part.high - part.low).tolist() == [2.0] * len(kept)
    assert part.columns["row"].numbers().tolist() == kept
