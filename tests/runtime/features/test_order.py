"""The quick order is Arrow's own."""

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.features.order import indices, same_as_before

ROWS = st.lists(
    st.tuples(st.none() | st.text("aä~", max_size=2), st.none() | st.integers(-2, 2)), min_size=1, max_size=12
)


def table(rows) -> pa.Table:
    """Return a text and a number."""
    return pa.table({"k": pa.array([k for k, _ in rows], pa.string()), "n": pa.array([n for _, n in rows], pa.int64())})


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_the_order_is_that_of_the_values(rows) -> None:
    """Ties stay in their order, nulls come last."""
    found = table(rows)
    by = [("k", "ascending"), ("n", "ascending"), ("place", "ascending")]
    expected = found.append_column("place", [range(found.num_rows)]).sort_by(by)["place"].to_pylist()

    assert indices(found, ["k", "n"]).to_pylist() == expected


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_neighbours_are_compared_by_value(rows) -> None:
    """A null is the same as nothing."""
    pairs = zip(rows[1:], rows, strict=False)
    expected = [None not in here and here == before for here, before in pairs]

    assert same_as_before(table(rows), ["k", "n"]).to_pylist() == expected
    assert pc.any(same_as_before(table(rows[:1]), ["k"])).as_py() in (None, False)
