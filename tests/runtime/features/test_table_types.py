"""Types through Iceberg and Arrow, values of every type through a store, and keys of any library in the types of tables."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pandas as pd
import polars
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField

from mlops_runtime.features.column_type import ELEMENTS
from mlops_runtime.features.feature_group import VECTOR, Entity, Feature, FeatureGroup
from mlops_runtime.features.iceberg_tables import check_table, feature_types
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.table_types import (
    KeyTypeError,
    arrow_type,
    arrow_types,
    declared_types,
    iceberg_type,
    is_of_type,
    typed_key,
    with_typed_keys,
)

DECLARED = [*ELEMENTS, "binary", "decimal(9,2)", "decimal(38,10)", *(f"list<{kind}>" for kind in ELEMENTS), "vector(3)"]
FLOATS = st.floats(width=32) | st.sampled_from([float("nan"), -0.0])
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
VALUES = {
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": FLOATS,
    "double": st.floats(),
    "string": st.text(max_size=5),
    "date": st.dates(date(1, 1, 1), date(9999, 12, 31)),
    "timestamp": TIMES,
    "binary": st.binary(max_size=5),
    "decimal(9,2)": st.decimals(-9_999_999, 9_999_999, places=2).map(lambda value: value + 0),
    "decimal(38,10)": st.decimals(Decimal(-(10**27)), Decimal(10**27), places=10).map(lambda value: value + 0),
    "vector(3)": st.lists(FLOATS, min_size=3, max_size=3),
}
VALUES |= {f"list<{kind}>": st.lists(st.none() | VALUES[kind], max_size=3) for kind in ELEMENTS}
NAMES = {kind: f"f{number}" for number, kind in enumerate(DECLARED)}
EVERYTHING = FeatureGroup(
    name="everything",
    entities=(Entity("k", "long", "key"),),
    features=tuple(Feature(NAMES[kind], kind, kind, nullable=True) for kind in DECLARED),
    owner="demand",
    description="a column of each type",
)


@pytest.mark.parametrize("declared", DECLARED)
def test_a_declared_type_comes_back(declared):
    """From Iceberg, where the table marks vectors, and from Arrow."""
    field = NestedField(1, "x", iceberg_type(declared, 2), required=False)
    properties = {f"{VECTOR}x": "3"} if declared == "vector(3)" else {}
    assert declared_types(Schema(field), properties) == {"x": declared}
    assert arrow_types(pa.schema([("x", arrow_type(declared))])) == {"x": declared}
    assert is_of_type(field.field_type, declared)


def test_what_no_group_declares_has_no_type():
    """Covers structs, decimals of negative scale, and lists of bytes."""
    others = [pa.struct([("a", pa.int64())]), pa.decimal128(9, -2), pa.list_(pa.binary()), pa.time64("us")]
    assert arrow_types(pa.schema([(str(i), kind) for i, kind in enumerate(others)])) == {}


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_value_comes_back_from_a_store(shop, data):
    """Null and NaN in lists, signed zeros and dates before 1970 survive in the newest row, a set and its rebuild."""
    rows = data.draw(st.lists(st.fixed_dictionaries({kind: st.none() | VALUES[kind] for kind in DECLARED}), min_size=1))
    group = FeatureGroup(
        name=f"g{data.draw(st.uuids()).hex}",
        entities=EVERYTHING.entities,
        features=EVERYTHING.features,
        owner="demand",
        description="a column of each type",
    )
    batch = pa.table(
        {
            "k": range(len(rows)),
            "event_time": [shop.day(1)] * len(rows),
            "created_time": [shop.day(1)] * len(rows),
            **{NAMES[kind]: pa.array([row[kind] for row in rows], arrow_type(kind)) for kind in DECLARED},
        }
    )
    assert shop.client.ingest(group, batch).rows == len(rows)
    assert shop.client.ingest(group, batch).duplicate
    expected = {name: repr(batch[name].to_pylist()) for name in NAMES.values()}

    latest = shop.client.latest(group)
    assert {name: repr(latest[name].to_pylist()) for name in NAMES.values()} == expected
    assert {name: latest.schema.field(name).type for name in NAMES.values()} == {
        NAMES[kind]: arrow_type(kind) for kind in DECLARED
    }
    asked = pa.table({"k": range(len(rows)), "event_timestamp": [shop.day(2)] * len(rows)})
    built = shop.client.training_set(asked, [group], name="all")
    assert {name: repr(built.rows[f"{group.name}__{name}"].to_pylist()) for name in NAMES.values()} == expected
    again = shop.client.rebuild(built.id)
    assert (again.verdict, again.same_bytes) == (Verdict.IDENTICAL, True)


def test_every_type_survives_compaction(shop):
    """Eight files become one; null and NaN stay inside lists, and an earlier set is unchanged."""
    values = {
        "list<float>": [1.0, float("nan"), None],
        "list<string>": ["a", None, ""],
        "vector(3)": [0.5, float("nan"), -0.0],
        "decimal(38,10)": Decimal("-1.5000000000"),
        "binary": b"\0a",
    }
    columns = {NAMES[kind]: pa.array([value], arrow_type(kind)) for kind, value in values.items()}
    asked = pa.table({"k": [0, 9], "event_timestamp": [shop.day(2)] * 2})
    for number in range(9):
        rows = {"k": [number], "event_time": [shop.day(1)], "created_time": [shop.day(1)], **columns}
        shop.client.ingest(EVERYTHING, pa.table(rows))
        if not number:
            built = shop.client.training_set(asked, [EVERYTHING], name="all")
    table = shop.client.table("everything_v1")
    assert len(list(table.scan().plan_files())) < 9
    latest = shop.client.latest(EVERYTHING)
    assert latest.num_rows == 9
    for kind, value in values.items():
        assert repr(latest[NAMES[kind]].to_pylist()) == repr([value] * 9)
    assert shop.client.rebuild(built.id).verdict is Verdict.IDENTICAL


def test_a_table_of_other_types_is_refused(shop):
    """Reports other elements of a list, another length of a vector, and another scale of a decimal."""
    shop.client.ingest(EVERYTHING, pa.table({"k": [1], "event_time": [shop.day(1)]}))
    table = shop.client.table("everything_v1")
    check_table(EVERYTHING, table)
    assert feature_types(table) | {"k": "long"} == {c.name: c.type for c in EVERYTHING.columns}
    changed = {"list<long>": "list<int>", "vector(3)": "vector(4)", "decimal(9,2)": "decimal(9,3)"}
    other = FeatureGroup(
        name="everything",
        entities=EVERYTHING.entities,
        features=tuple(Feature(f.name, changed.get(f.type, f.type), "x", nullable=True) for f in EVERYTHING.features),
        owner="demand",
        description="a column of each type",
    )
    with pytest.raises(ValueError, match="does not fit its group") as error:
        check_table(other, table)
    for said in (
        "is list<long>, declared is list<int>",
        "is '3', declared is '4'",
        "is decimal(9, 2), declared is decimal(9,3)",
    ):
        assert said in str(error.value)


UTC_TIME = pa.timestamp("us", "UTC")
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
            UTC_TIME,
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
        (pa.array([datetime(2017, 1, 2)]), UTC_TIME, r"is timestamp\[us\] in the entity rows"),
        (pa.array([1], pa.timestamp("ns", "UTC")), UTC_TIME, "does not fit .* would lose data"),
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
