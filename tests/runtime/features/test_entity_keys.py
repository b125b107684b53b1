"""Keys of any library converted to table types without changing a value; lossy conversions are rejected."""

import math
from datetime import UTC, date, datetime

import pandas as pd
import polars
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features.entity_keys import KeyTypeError, typed_key, with_typed_keys

TIMES = pa.timestamp("us", "UTC")
WHOLE = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]


@given(st.sampled_from(WHOLE), st.sampled_from([pa.int32(), pa.int64()]), st.data())
def test_integers_fit_or_are_refused(given_type, wanted, data):
    """Integers of any width fit or are rejected, never truncated."""
    bits = given_type.bit_width
    low, high = (
        (0, 2**bits - 1) if pa.types.is_unsigned_integer(given_type) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    value = data.draw(st.integers(low, high))
    column = pa.chunked_array([pa.array([value, None], given_type)])
    if -(2 ** (wanted.bit_width - 1)) <= value < 2 ** (wanted.bit_width - 1):
        assert typed_key(column, wanted).to_pylist() == [value, None]
    else:
        with pytest.raises(
            KeyTypeError, match=f"does not fit {wanted} of the table: Integer value {value} not in range"
        ):
            typed_key(column, wanted)


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pa.array([7.0, math.nan, None]), pa.int32(), [7, None, None]),
        (pa.array([date(2017, 1, 2)]).cast(pa.date64()), pa.date32(), [date(2017, 1, 2)]),
        (
            pa.array([datetime(2017, 1, 2, tzinfo=UTC)], pa.timestamp("ns", "UTC")),
            TIMES,
            [datetime(2017, 1, 2, tzinfo=UTC)],
        ),
        (pa.array(["a", None]).dictionary_encode(), pa.string(), ["a", None]),
        (pa.array(["a"], pa.string_view()), pa.string(), ["a"]),
        (pa.nulls(2), pa.int64(), [None, None]),
    ],
    ids=["floats", "dates", "times", "categories", "views", "nulls"],
)
def test_what_libraries_have_by_themselves_is_taken(column, kind, expected):
    """Accepts pandas' floats for integers with gaps, nanoseconds, categories, and columns without values."""
    found = typed_key(pa.chunked_array([column]), kind)
    assert (found.type, found.to_pylist()) == (kind, expected)


@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        (pa.array(["7"]), pa.int64(), "is string in the entity rows and int64 in the table; give both one type"),
        (pa.array([7]), pa.string(), "is int64 in the entity rows and string in the table"),
        (pa.array([7.5]), pa.int64(), "does not fit int64 of the table: Float value 7.500000 was truncated"),
        (
            pa.array([2.0**60]),
            pa.int64(),
            "where 1.152921504606847e\\+18 represents several integers; give it as int64",
        ),
        (pa.array([datetime(2017, 1, 2)]), TIMES, r"is timestamp\[us\] in the entity rows"),
        (pa.array([1], pa.timestamp("ns", "UTC")), TIMES, "does not fit .* would lose data"),
        (pa.array([True]), pa.int64(), "is bool in the entity rows"),
    ],
)
def test_fails_for_keys_that_would_change(column, kind, message):
    """The error names both types, the value and the fix."""
    with pytest.raises(KeyTypeError, match=message):
        typed_key(pa.chunked_array([column]), kind)


def test_the_same_keys_are_the_same_rows_for_any_library():
    """A training set's id does not depend on the library of its entity rows; other columns are unchanged."""
    kinds = {"sku": pa.int32(), "store": pa.string()}
    values = {"sku": [7, None], "store": ["a", "b"], "weight": [1.0, 2.0]}
    tables = [
        with_typed_keys(pa.table(frame), kinds)
        for frame in (
            pd.DataFrame(values),
            polars.DataFrame(values),
            polars.DataFrame(values, schema_overrides={"sku": polars.UInt8}),
        )
    ]
    assert [table.to_pydict() for table in tables] == [values] * 3
    assert {table.schema.field("sku").type for table in tables} == {pa.int32()}
