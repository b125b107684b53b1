"""Rows as items and back: no two entities share a key, no value loses a bit."""

import struct
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features import online_item
from mlops_runtime.features.group import Entity, Feature, FeatureGroup
from mlops_runtime.features.iceberg import arrow_schema
from mlops_runtime.features.online_item import EXPIRES, ORDER, OnlineStoreError, item_keys, items, rows_of

DAY = datetime(2017, 1, 1, tzinfo=UTC)
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
DATES = st.dates(date(1, 1, 1), date(9999, 12, 31))
BITS = {"float": st.integers(-(2**31), 2**31 - 1), "double": st.integers(-(2**63), 2**63 - 1)}
VALUES = {
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "string": st.text(),
    "date": DATES,
    "timestamp": TIMES,
}
ALL = FeatureGroup(
    name="everything",
    entities=(
        Entity("text", "string", "t"),
        Entity("whole", "long", "w"),
        Entity("week", "date", "w"),
        Entity("at", "timestamp", "a"),
    ),
    features=tuple(Feature(f"f_{kind}", kind, kind, nullable=True) for kind in (*VALUES, *BITS)),
    owner="demand",
    description="one column of each type",
    ttl=timedelta(days=2),
)
KEY = st.tuples(st.text(max_size=20), VALUES["long"], DATES, TIMES)


def entities(*keys):
    """Return entities as rows."""
    columns = zip(*keys, strict=True) if keys else [[], [], [], []]
    schema = arrow_schema(ALL)
    return pa.table({n: pa.array(c, schema.field(n).type) for n, c in zip(ALL.entity_names, columns, strict=True)})


def column(kind, bits):
    """Return a column of floats from the integers of their bits."""
    whole, real = (pa.int32(), pa.float32()) if kind == "float" else (pa.int64(), pa.float64())
    return pa.array(bits, whole).view(real)


@given(KEY, KEY)
def test_two_entities_never_share_a_key(one, other):
    """Whatever stands in texts: quotes, commas, slashes; the same entity always has the same key."""
    first, second = item_keys(ALL, entities(one, other))
    assert (first == second) is (one == other)
    assert first.startswith("everything_v1/[")


@given(st.data())
def test_every_value_comes_back_bit_for_bit(data):
    """NaN with its payload, infinities, negative zero, the smallest double, null, and times to the microsecond."""
    key = data.draw(KEY)
    columns = {name: entities(key)[name] for name in ALL.entity_names}
    columns |= {"event_time": pa.array([data.draw(TIMES)], pa.timestamp("us", "UTC"))}
    columns |= {"created_time": pa.array([data.draw(TIMES)], pa.timestamp("us", "UTC"))}
    columns |= {"ingest_id": pa.array([data.draw(st.text(min_size=1))])}
    for kind, values in {**VALUES, **BITS}.items():
        value = [data.draw(st.none() | values)]
        columns[f"f_{kind}"] = (
            column(kind, value) if kind in BITS else pa.array(value, arrow_schema(ALL).field(f"f_{kind}").type)
        )
    rows = pa.table({c.name: columns[c.name] for c in ALL.columns})
    (item,) = items(ALL, rows)
    back = rows_of(ALL, rows.select(ALL.entity_names), [item])
    for kind in BITS:
        before, after = (table[f"f_{kind}"].combine_chunks() for table in (rows, back))
        whole = pa.int32() if kind == "float" else pa.int64()
        assert before.view(whole).to_pylist() == after.view(whole).to_pylist()
    without = [name for name in rows.column_names if name not in ("f_float", "f_double")]
    assert back.select(without).to_pydict() == rows.select(without).to_pydict()
    assert back.schema.names == rows.schema.names


@pytest.mark.parametrize("bits", [0x7FF8000000000001, 0x7FF0000000000000, -0x8000000000000000, 1, 0x7FEFFFFFFFFFFFFF])
def test_doubles_that_dynamodb_numbers_lack_are_kept(bits):
    """A NaN with a payload, infinity, negative zero, the least and the greatest: as their eight bytes."""
    group = FeatureGroup(
        name="real",
        entities=(Entity("k", "long", "k"),),
        features=(Feature("f", "double", "f"),),
        owner="o",
        description="d",
    )
    rows = pa.table(
        {
            "k": [1],
            "event_time": [DAY],
            "created_time": [DAY],
            "ingest_id": ["0"],
            "f": column("double", [bits]),
        }
    )
    (item,) = items(group, rows)
    assert item["row"]["M"]["f"] == {"B": struct.pack(">q", bits)}
    back = rows_of(group, rows.select(["k"]), [item])["f"].combine_chunks()
    assert back.view(pa.int64()).to_pylist() == [bits]


@given(st.tuples(TIMES, TIMES, st.text()), st.tuples(TIMES, TIMES, st.text()))
def test_versions_sort_as_event_created_ingest_do(one, other):
    """The version's bytes order rows as the store does, times before 1970 too."""
    group = FeatureGroup(
        name="real",
        entities=(Entity("k", "long", "k"),),
        features=(Feature("f", "long", "f"),),
        owner="o",
        description="d",
    )
    both = [one, other]
    times = {
        name: pa.array([row[i] for row in both], pa.timestamp("us", "UTC"))
        for i, name in enumerate(("event_time", "created_time"))
    }
    rows = pa.table({"k": [1, 1], **times, "ingest_id": [row[2] for row in both], "f": [1, 2]})
    first, second = (item[ORDER]["S"].encode() for item in items(group, rows))
    keyed = [(event, created, ingest.encode()) for event, created, ingest in both]
    assert (first < second) is (keyed[0] < keyed[1])
    assert (first == second) is (keyed[0] == keyed[1])


def test_a_widened_column_reads_what_was_written_before():
    """A float that became a double, an int that became a long, and a feature that was not there yet."""

    def group(*features):
        return FeatureGroup(
            name="g", entities=(Entity("k", "long", "k"),), features=features, owner="o", description="d"
        )

    old = group(Feature("a", "float", "a"), Feature("b", "int", "b"))
    new = group(Feature("a", "double", "a"), Feature("b", "long", "b"), Feature("c", "string", "c", nullable=True))
    rows = pa.table(
        {
            "k": [1],
            "event_time": [DAY],
            "created_time": [DAY],
            "ingest_id": ["0"],
            "a": pa.array([0.5], pa.float32()),
            "b": pa.array([7], pa.int32()),
        }
    )
    back = rows_of(new, rows.select(["k"]), list(items(old, rows)))
    assert back.select(["a", "b", "c"]).to_pylist() == [{"a": 0.5, "b": 7, "c": None}]
    assert back.schema.field("b").type == pa.int64()


def test_an_item_is_over_after_its_last_second():
    """DynamoDB deletes by whole seconds, so the second after the last instant; without ttl never."""
    (item,) = items(ALL, _row(event=DAY + timedelta(microseconds=1)))
    assert item[EXPIRES] == {"N": str(int((DAY + timedelta(days=2)).timestamp()) + 1)}


def test_fails_when_keys_or_rows_are_not_the_groups():
    """Absent columns, other types, nulls and too long a key are named."""
    with pytest.raises(OnlineStoreError, match=r"entity 'text' is absent, there are whole; entity 'week' is absent.*"):
        item_keys(ALL, pa.table({"whole": [1]}))
    keys = entities(("a", 1, date(2017, 1, 1), DAY))
    with pytest.raises(OnlineStoreError, match="entity 'text' is int64, declared is string"):
        item_keys(ALL, keys.set_column(0, "text", pa.array([1])))
    with pytest.raises(OnlineStoreError, match="entity 'whole' is double, declared is int64"):
        item_keys(ALL, keys.set_column(1, "whole", pa.array([1.0])))
    with pytest.raises(OnlineStoreError, match=r"entity 'at' is timestamp.us., declared is timestamp.us, tz=UTC."):
        item_keys(ALL, keys.set_column(3, "at", pa.array([DAY], pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))))
    with pytest.raises(OnlineStoreError, match="entity 'text' has 1 nulls"):
        item_keys(ALL, keys.set_column(0, "text", pa.array([None], pa.string())))
    with pytest.raises(OnlineStoreError, match="1 keys have more than 2048 bytes"):
        item_keys(ALL, keys.set_column(0, "text", pa.array(["é" * 1100])))
    with pytest.raises(OnlineStoreError, match=r"rows have no created_time, event_time, .*; give whole rows"):
        list(items(ALL, keys))
    with pytest.raises(OnlineStoreError, match="f_int is string, declared is int32"):
        list(items(ALL, _row(event=DAY).set_column(8, "f_int", pa.array(["1"]))))


def _row(*, event):
    times = {name: pa.array([event], pa.timestamp("us", "UTC")) for name in ("event_time", "created_time")}
    given = {**{n: entities(("a", 1, date(2017, 1, 1), DAY))[n] for n in ALL.entity_names}, **times, "ingest_id": ["0"]}
    return pa.table(
        [given.get(f.name, pa.array([None], f.type)) for f in arrow_schema(ALL)], names=arrow_schema(ALL).names
    )


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "01", "01"),
        ("int", "-7", -7),
        ("int", "2147483648", None),
        ("long", "2147483648", 2147483648),
        ("long", "x", None),
        ("date", "1970-01-02", 1),
        ("timestamp", "1970-01-01T01:00:00.000001+01:00", 1),
        ("timestamp", "1970-01-01T00:00:00", None),
    ],
)
def test_texts_are_read_as_the_types_of_keys(kind, text, value):
    """What is no value of the type is nobody; a time without a zone is none."""
    assert online_item.key_values({"a": kind}, {"a": text}) == (None if value is None else (value,))


def test_a_key_is_recognized_by_the_values_that_are_given():
    """By position; a text that looks like a number is none."""
    key = online_item.whole_key("stock_v1", ("1", 7))
    assert key == 'stock_v1/["1",7]'
    assert [online_item.is_of(key, v) for v in (("1", None), (None, 7), (1, None), (None, "7"), ("1",))] == [
        True,
        True,
        False,
        False,
        False,
    ]
