"""The fast sort equals Arrow's.

The content hash: equal rows have equal hashes, other rows have others.
"""

import math
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.features.row_hashing import (
    UnhashableColumnError,
    block_digest,
    comparable,
    content_hash,
    hash_of_blocks,
    in_order,
    indices,
    same_as_before,
)

ROWS = st.lists(
    st.tuples(st.none() | st.text("aä~", max_size=2), st.none() | st.integers(-2, 2)), min_size=1, max_size=12
)


HASHED_ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-9, 9), st.none() | st.text(":-0123ab", max_size=3), st.none() | st.floats(width=64)
    ),
    max_size=6,
)


def table(rows) -> pa.Table:
    """Return a string and a number."""
    return pa.table({"k": pa.array([k for k, _ in rows], pa.string()), "n": pa.array([n for _, n in rows], pa.int64())})


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_the_order_is_that_of_the_values(rows) -> None:
    """Ties keep their order, nulls come last."""
    found = table(rows)
    by = [("k", "ascending"), ("n", "ascending"), ("place", "ascending")]
    expected = found.append_column("place", [range(found.num_rows)]).sort_by(by)["place"].to_pylist()

    assert indices(found, ["k", "n"]).to_pylist() == expected


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_neighbours_are_compared_by_value(rows) -> None:
    """A null equals a missing value."""
    pairs = zip(rows[1:], rows, strict=False)
    expected = [None not in here and here == before for here, before in pairs]

    assert same_as_before(table(rows), ["k", "n"]).to_pylist() == expected
    assert pc.any(same_as_before(table(rows[:1]), ["k"])).as_py() in (None, False)


def hashed_table(rows) -> pa.Table:
    """Return the rows as a table of an integer, a string and a float."""
    kinds = [("i", pa.int64()), ("s", pa.string()), ("f", pa.float64())]
    return pa.table({name: pa.array([row[n] for row in rows], kind) for n, (name, kind) in enumerate(kinds)})


def canonical(rows):
    """Return the rows as a sorted list in which equal rows are equal values."""
    return sorted(
        repr((i, s, None if f is None else "nan" if math.isnan(f) else f + 0.0))
        for i, s, f in rows  # -0.0 + 0.0 is 0.0
    )


@settings(max_examples=100, deadline=None)
@given(HASHED_ROWS, HASHED_ROWS)
def test_hashes_are_equal_exactly_when_the_rows_are(left, right):
    """The hash agrees with a comparison of sorted rows, for any adjacent values."""
    assert (content_hash(hashed_table(left)) == content_hash(hashed_table(right))) == (
        canonical(left) == canonical(right)
    )


@settings(max_examples=50, deadline=None)
@given(HASHED_ROWS, st.randoms())
def test_order_of_rows_does_not_count(rows, random):
    """A shuffled table has the same hash."""
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert content_hash(hashed_table(shuffled)) == content_hash(hashed_table(rows))


def test_known_value():
    """The hash is part of manifests kept for years, so its value is pinned."""
    rows = pa.table(
        {
            "b": pa.array([True, None, False]),
            "d": pa.array([0.1, float("nan"), None], pa.float64()),
            "s": pa.array(["ä", "", None]),
            "t": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
        }
    )
    assert content_hash(rows) == "h3:ec8368b55b24a867faf44f64444112fd0118469cbbc1fd2ed51be2fac6ffe17d"


@settings(max_examples=50, deadline=None)
@given(HASHED_ROWS, st.integers(1, 4))
def test_blocks_that_are_hashed_apart_give_the_hash_of_the_whole(rows, block):
    """For any division of rows into chunks; another block size gives another hash."""
    table = hashed_table(rows)
    table = table.append_column("row_id", pa.arange(0, table.num_rows))
    digests = [block_digest(table.slice(at, block), ["row_id"]) for at in range(0, table.num_rows, block)]
    whole = content_hash(table, ["row_id"], is_sorted=True, block=block)
    assert whole == hash_of_blocks(table.schema, table.num_rows, digests, ["row_id"], block=block)
    assert whole == content_hash(table.sort_by([("row_id", "descending")]), ["row_id"], block=block)
    assert whole != content_hash(table, ["row_id"], block=block + 1)


def test_memory_layout_does_not_count():
    """Dictionaries, large strings and chunks are layout; types are content."""
    plain = pa.table({"s": ["a", "b", "a"]})
    assert content_hash(pa.table({"s": plain["s"].dictionary_encode()})) == content_hash(plain)
    assert content_hash(pa.table({"s": plain["s"].cast(pa.large_string())})) == content_hash(plain)
    assert content_hash(pa.concat_tables([plain.slice(0, 1), plain.slice(1)])) == content_hash(plain)
    assert content_hash(pa.table({"n": pa.array([1], pa.int32())})) != content_hash(pa.table({"n": [1]}))


def test_fails_when_a_type_has_no_canonical_form():
    """Rejects a column of structs by name."""
    with pytest.raises(UnhashableColumnError, match="column 'l' has type struct"):
        content_hash(pa.table({"l": [{"a": 1}]}))


def test_columns_to_sort_by_first_are_part_of_the_hash():
    """The order of rows does not matter; a table without columns or rows has a hash too."""
    rows = pa.table({"a": [2, 1, 1], "b": ["x", "y", None]})

    assert content_hash(rows, ["b"]) == content_hash(rows.take([2, 0, 1]).select(["b", "a"]), ["b"])
    assert content_hash(rows, ["b"]) != content_hash(rows)
    assert content_hash(rows.slice(0, 0)) != content_hash(pa.table({}))


def test_slices_hash_as_copies_do():
    """Arrow's buffers contain more than the slice."""
    rows = pa.table({"s": ["long before", "a", "b"], "n": [1, 2, 3], "b": [True, False, True]})

    assert content_hash(rows.slice(1)) == content_hash(pa.table({"s": ["a", "b"], "n": [2, 3], "b": [False, True]}))


LISTS = st.lists(st.none() | st.lists(st.none() | st.floats(width=32), max_size=3), min_size=1, max_size=5)
TEXTS = st.lists(st.none() | st.lists(st.none() | st.text("ab\0\1", max_size=2), max_size=3), min_size=1, max_size=5)


def same_lists(values: list) -> str:
    """Return lists as text in which zero has no sign."""
    return repr([None if value is None else [None if x is None else x + 0.0 for x in value] for value in values])


@settings(max_examples=200, deadline=None)
@given(LISTS, LISTS)
def test_lists_have_one_hash_whatever_holds_them(one, other) -> None:
    """Null and NaN elements, empty and null lists are distinguished; layout and chunks are not."""
    kinds = [pa.list_(pa.float32()), pa.large_list(pa.float32())]
    hashes = {content_hash(pa.table({"x": pa.array(one, kind)}), is_sorted=True) for kind in kinds}
    chunked = pa.chunked_array([pa.array([[9.0], *one], kinds[0]).slice(1), pa.array([], kinds[0])])
    hashes.add(content_hash(pa.table({"x": chunked}), is_sorted=True))
    assert len(hashes) == 1
    another = content_hash(pa.table({"x": pa.array(other, kinds[0])}), is_sorted=True)
    assert (another in hashes) is (same_lists(one) == same_lists(other))


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_lists_of_texts_are_told_apart(one, other) -> None:
    """The boundaries of strings are part of the hash."""
    first, second = (comparable(pa.chunked_array([pa.array(rows, pa.list_(pa.string()))])) for rows in (one, other))
    assert (first.to_pylist() == second.to_pylist()) is (one == other)


def test_vectors_are_lists_of_one_length() -> None:
    """A table read as lists has the hash of its vectors; the order of rows does not matter."""
    vectors = pa.array([[1.0, 2.0], None, [float("nan"), -0.0]], pa.list_(pa.float32(), 2))
    lists = vectors.cast(pa.list_(pa.float32()))
    one, other = pa.table({"x": vectors}), pa.table({"x": lists})
    assert content_hash(one) == content_hash(other) == content_hash(one.take([2, 0, 1]))
    assert content_hash(one) != content_hash(pa.table({"x": lists.cast(pa.list_(pa.float64()))}))


def test_decimals_and_bytes_are_hashed_by_value() -> None:
    """Scale is part of the type; slices, layouts and the order of rows are not."""
    rows = pa.table(
        {
            "d": pa.array([Decimal("1.10"), None, Decimal("-3.00"), Decimal("1.10")], pa.decimal128(9, 2)),
            "b": pa.array([b"a", None, b"", b"a\0"]),
        }
    )
    other = pa.table({"d": rows["d"].cast(pa.decimal128(9, 2)), "b": rows["b"].cast(pa.large_binary())})
    assert content_hash(rows) == content_hash(other.take([3, 2, 0, 1]))
    assert content_hash(rows.slice(1)) == content_hash(pa.Table.from_pylist(rows.slice(1).to_pylist(), rows.schema))
    hashes = {content_hash(rows), content_hash(rows.slice(0, 3)), content_hash(rows.slice(1))}
    hashes.add(content_hash(rows.set_column(0, "d", rows["d"].cast(pa.decimal128(10, 2)))))
    assert len(hashes) == 4


@pytest.mark.parametrize("kind", [pa.list_(pa.binary()), pa.list_(pa.decimal128(9, 2)), pa.list_(pa.list_(pa.int64()))])
def test_fails_for_lists_without_a_canonical_form(kind) -> None:
    """The error names the column and its type."""
    with pytest.raises(UnhashableColumnError, match=r"column 'x' has type list<.*have no canonical form"):
        content_hash(pa.table({"x": pa.nulls(1, kind)}))


_SORTED = {
    pa.int32(): st.integers(0, 3),
    pa.int64(): st.sampled_from([-(2**63), 2**63 - 1, 0, 5]),
    pa.uint64(): st.sampled_from([0, 2**64 - 1]),
    pa.timestamp("us", "UTC"): st.integers(0, 4).map(lambda n: n * 86_400_000_000),
    pa.string(): st.sampled_from(["", "a", "b"]),
    pa.float64(): st.sampled_from([0.0, 1.5, math.nan]),
    pa.bool_(): st.booleans(),
    pa.date32(): st.integers(0, 3),
}


@st.composite
def _unsorted(draw):
    """Draw a table of a few columns with few nulls."""
    count = draw(st.integers(0, 12))
    kinds = draw(st.lists(st.sampled_from([*_SORTED]), min_size=1, max_size=4))
    columns = {}
    for i, kind in enumerate(kinds):
        values = _SORTED[kind] | st.none() if draw(st.integers(0, 3)) == 0 else _SORTED[kind]
        columns[str(i)] = pa.array(draw(st.lists(values, min_size=count, max_size=count)), kind)
    return pa.table(columns)


@given(_unsorted())
def test_rows_are_ordered_as_arrow_orders_them(rows):
    """For any number of columns per sort key; equal rows keep their order, nulls come last."""
    ranked = pa.table(
        {
            name: pc.rank(rows[name], "ascending", tiebreaker="dense") if rows[name].type == pa.string() else rows[name]
            for name in rows.column_names
        }
    )
    wanted = pc.sort_indices(ranked, [(name, "ascending") for name in rows.column_names])
    assert indices(rows, rows.column_names).to_pylist() == wanted.to_pylist()
    assert repr(in_order(rows, rows.column_names).to_pylist()) == repr(rows.take(wanted).to_pylist())


def test_rows_in_order_are_not_copied():
    """Also where the last of several columns decides; one misplaced row is sorted."""
    rows = pa.table({"k": ["a", "a", "b"], "n": [1, 2, 1]})
    assert in_order(rows, ["k", "n"]) is rows
    late = pa.table({"n": pa.concat_arrays([pa.arange(0, 2000, 1), pa.array([7])])})
    assert in_order(late, ["n"])["n"].to_pylist() == sorted(late["n"].to_pylist())
