"""Rows as items and back: entities never share a key, and values keep every bit.

The online store compared with the feature store's ``latest``, over DynamoDB.
"""

import itertools
import math
import struct
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import boto3
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from mlops_runtime.features import online_store
from mlops_runtime.features.column_type import ColumnType
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.feature_service import FeatureService
from mlops_runtime.features.group_join import GroupJoin
from mlops_runtime.features.online_items import EXPIRES, ORDER, OnlineStoreError, is_of, whole_key
from mlops_runtime.features.online_store import (
    OnlineStore,
    Published,
    item_keys,
    items,
    rows_of,
)
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_types import arrow_schema, arrow_type

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
    "binary": st.binary(),
    "decimal(38,10)": st.decimals(Decimal(-(10**27)), Decimal(10**27), places=10).map(lambda value: value + 0),
}
VALUES |= {f"list<{kind}>": st.lists(st.none() | VALUES[kind], max_size=3) for kind in ("long", "string", "timestamp")}
BITS |= {
    "list<double>": st.lists(BITS["double"], max_size=3),
    "vector(2)": st.lists(BITS["float"], min_size=2, max_size=2),
}
NAMES = {kind: f"f{number}" for number, kind in enumerate((*VALUES, *BITS))}
ALL = FeatureGroup(
    name="everything",
    entities=(
        Entity("text", "string", "t"),
        Entity("whole", "long", "w"),
        Entity("week", "date", "w"),
        Entity("at", "timestamp", "a"),
    ),
    features=tuple(Feature(name, kind, kind, nullable=True) for kind, name in NAMES.items()),
    owner="demand",
    description="one column of each type",
    ttl=timedelta(days=2),
)
KEY = st.tuples(st.text(max_size=20), VALUES["long"], DATES, TIMES)


STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"), Entity("item", "long", "item")),
    features=(
        Feature("on_hand", "long", "units on hand", nullable=True),
        Feature("price", "double", "price", nullable=True),
    ),
    owner="demand",
    description="stock",
)
TABLES = itertools.count()
KEYS = [("a", 1), ("a", 2), ('a",1', 1), ("", -1)]
DOUBLES = st.none() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7e308, 0.1])


def entities(*keys):
    """Return entities as rows."""
    columns = zip(*keys, strict=True) if keys else [[], [], [], []]
    schema = arrow_schema(ALL)
    return pa.table({n: pa.array(c, schema.field(n).type) for n, c in zip(ALL.entity_names, columns, strict=True)})


def column(kind, bits):
    """Return a column of floats, or of lists of floats, from their bits as integers."""
    if ColumnType.of(kind).element:
        held = column(ColumnType.of(kind).element, [each for value in bits for each in value or ()])
        ends = itertools.accumulate((len(value or ()) for value in bits), initial=0)
        missing = pa.array([value is None for value in bits])
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), held, mask=missing).cast(arrow_type(kind))
    whole, real = (pa.int32(), pa.float32()) if kind == "float" else (pa.int64(), pa.float64())
    return pa.array(bits, whole).view(real)


@given(KEY, KEY)
def test_two_entities_never_share_a_key(one, other):
    """Covers quotes, commas and slashes in strings; an entity always has the same key."""
    first, second = item_keys(ALL, entities(one, other))
    assert (first == second) is (one == other)
    assert first.startswith("everything_v1/[")


@given(st.data())
def test_every_value_comes_back_bit_for_bit(data):
    """Covers NaN payloads, infinities, negative zero, the smallest double, null, and times to the microsecond."""
    key = data.draw(KEY)
    columns = {name: entities(key)[name] for name in ALL.entity_names}
    columns |= {"event_time": pa.array([data.draw(TIMES)], pa.timestamp("us", "UTC"))}
    columns |= {"created_time": pa.array([data.draw(TIMES)], pa.timestamp("us", "UTC"))}
    columns |= {"ingest_id": pa.array([data.draw(st.text(min_size=1))])}
    for kind, values in {**VALUES, **BITS}.items():
        value = [data.draw(st.none() | values)]
        columns[NAMES[kind]] = column(kind, value) if kind in BITS else pa.array(value, arrow_type(kind))
    rows = pa.table({c.name: columns[c.name] for c in ALL.columns})
    (item,) = items(ALL, rows)
    back = rows_of(ALL, rows.select(ALL.entity_names), [item])
    for kind in BITS:
        before, after = (table[NAMES[kind]].combine_chunks() for table in (rows, back))
        assert before.type == after.type
        if ColumnType.of(kind).element:
            assert before.is_null().equals(after.is_null())
            before, after = before.flatten(), after.flatten()
        whole = pa.int32() if before.type == pa.float32() else pa.int64()
        assert before.view(whole).to_pylist() == after.view(whole).to_pylist()
    without = [name for name in rows.column_names if name not in {NAMES[kind] for kind in BITS}]
    assert back.select(without).to_pydict() == rows.select(without).to_pydict()
    assert back.schema.names == rows.schema.names


@pytest.mark.parametrize("bits", [0x7FF8000000000001, 0x7FF0000000000000, -0x8000000000000000, 1, 0x7FEFFFFFFFFFFFFF])
def test_doubles_that_dynamodb_numbers_lack_are_kept(bits):
    """Stores a NaN payload, infinity, negative zero, and the smallest and largest double as eight bytes."""
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
    """The version's bytes sort like rows in the store, also for times before 1970."""
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
    """Covers a float widened to double, an int widened to long, and a new feature."""

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
    """DynamoDB deletes by whole seconds, so it expires in the second after its lifetime; without ttl never."""
    (item,) = items(ALL, _row(event=DAY + timedelta(microseconds=1)))
    assert item[EXPIRES] == {"N": str(int((DAY + timedelta(days=2)).timestamp()) + 1)}


def test_fails_when_keys_or_rows_are_not_the_groups():
    """Reports missing columns, other types, nulls and keys that are too long."""
    with pytest.raises(
        OnlineStoreError, match=r"entity 'text' is missing, there are whole; entity 'week' is missing.*"
    ):
        item_keys(ALL, pa.table({"whole": [1]}))
    keys = entities(("a", 1, date(2017, 1, 1), DAY))
    with pytest.raises(OnlineStoreError, match="entity 'text' is int64 in the entity rows and string in the table"):
        item_keys(ALL, keys.set_column(0, "text", pa.array([1])))
    with pytest.raises(OnlineStoreError, match="entity 'whole' does not fit int64 of the table: Float value"):
        item_keys(ALL, keys.set_column(1, "whole", pa.array([1.5])))
    with pytest.raises(
        OnlineStoreError,
        match=r"entity 'at' is timestamp.us. in the entity rows and timestamp.us, tz",
    ):
        item_keys(ALL, keys.set_column(3, "at", pa.array([DAY], pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))))
    with pytest.raises(OnlineStoreError, match="entity 'text' has 1 nulls"):
        item_keys(ALL, keys.set_column(0, "text", pa.array([None], pa.string())))
    with pytest.raises(OnlineStoreError, match="1 keys have more than 2048 bytes"):
        item_keys(ALL, keys.set_column(0, "text", pa.array(["é" * 1100])))
    with pytest.raises(OnlineStoreError, match=r"rows have no created_time, event_time, .*; pass complete rows"):
        list(items(ALL, keys))
    with pytest.raises(OnlineStoreError, match=f"{NAMES['int']} is string, declared is int32"):
        list(items(ALL, _row(event=DAY).set_column(8, NAMES["int"], pa.array(["1"]))))


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
    """A value of another type, or a time without a zone, matches no entity."""
    assert online_store.key_values({"a": kind}, {"a": text}) == (None if value is None else (value,))


def test_a_key_is_recognized_by_the_values_that_are_given():
    """Values compare by position; a string that looks like a number does not match a number."""
    key = whole_key("stock_v1", ("1", 7))
    assert key == 'stock_v1/["1",7]'
    assert [is_of(key, v) for v in (("1", None), (None, 7), (1, None), (None, "7"), ("1",))] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.fixture
def dynamodb():
    """Return DynamoDB with one table."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        make(client, "online")
        yield client


def make(client, name):
    """Create the table that the construct defines."""
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "entity", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "entity", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def rows(day, *given):
    """Return rows: (key, event in days, created in days, on hand, price)."""
    return pa.table(
        {
            "store_id": [key[0] for key, *_ in given],
            "item": [key[1] for key, *_ in given],
            "event_time": [day(event) for _, event, *_ in given],
            "created_time": [day(created) for _, _, created, *_ in given],
            "on_hand": pa.array([row[3] for row in given], pa.int64()),
            "price": pa.array([row[4] for row in given], pa.float64()),
        }
    )


def bits(table):
    """Return a table's values with doubles as bits, so that NaN equals NaN and zero differs from negative zero."""
    return table.set_column(
        table.schema.get_field_index("price"),
        "price",
        pa.chunked_array([chunk.view(pa.int64()) for chunk in table["price"].chunks], pa.int64()),
    ).to_pydict()


ROW = st.tuples(st.sampled_from(KEYS), st.integers(0, 6), st.integers(0, 6), st.none() | st.integers(0, 9), DOUBLES)
STEPS = st.lists(
    st.tuples(st.lists(ROW, min_size=1, max_size=4), st.sampled_from(["refresh", "scan", "none"])), max_size=3
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    steps=STEPS, ttl=st.none() | st.integers(0, 4), bound=st.sampled_from(["inclusive", "exclusive"]), data=st.data()
)
def test_it_answers_as_latest_does(shop, dynamodb, tmp_path_factory, steps, ttl, bound, data):
    """Later reads agree for late, restated and future rows, however they were published.

    A scan publishes all rows in any order and in chunks, as several writers would.
    """
    has_ttl = ttl is not None and not (ttl == 0 and bound == "exclusive")
    group = FeatureGroup(
        name="stock",
        entities=STOCK.entities,
        features=STOCK.features,
        owner="demand",
        description="stock",
        ttl=timedelta(days=ttl) if has_ttl else None,
        ttl_bound=bound if has_ttl else "inclusive",
        lead=timedelta(days=6),
    )
    client = shop.new_client(tmp_path_factory.mktemp("store"))
    name = f"online-{next(TABLES)}"
    make(dynamodb, name)
    online = OnlineStore(dynamodb, table=name)
    entities = pa.table({"store_id": [k[0] for k in (*KEYS, KEYS[0])], "item": [k[1] for k in (*KEYS, KEYS[0])]})
    for number, (batch, how) in enumerate(steps):
        clock = number + 2
        shop.set_day(clock)
        distinct = {
            (key, event, min(created, clock)): (on_hand, price) for key, event, created, on_hand, price in batch
        }
        client.ingest(group, rows(shop.day, *((*k, *v) for k, v in distinct.items())))
        if how == "none":
            continue
        if how == "refresh":
            online.refresh(group, client, now=shop.day(clock))
        else:
            scanned = client.table(group.table_name).scan().to_arrow()
            order = data.draw(st.permutations(range(scanned.num_rows)))
            cut = data.draw(st.integers(0, scanned.num_rows))
            for part in (order[:cut], order[cut:]):
                online.publish(group, scanned.take(pa.array(part, pa.int64())), now=shop.day(clock))
        assert bits(online.get(group, entities, now=shop.day(clock))) == bits(client.latest(group, entities))
    if not steps:
        return
    # later, when future rows are visible and some rows have expired
    later = (
        len(steps)
        + 1
        + data.draw(st.integers(0, 8))
        + data.draw(st.sampled_from([0, 1e-6 / 86400, -1e-6 / 86400]))
        + 0.0
    )
    shop.set_day(later)
    online.publish(group, client.table(group.table_name).scan().to_arrow(), now=shop.day(later))
    found, wanted = online.get(group, entities, now=shop.day(later)), client.latest(group, entities)
    assert bits(found) == bits(wanted)
    assert found.schema.types == wanted.schema.types


def test_an_older_row_never_replaces_a_newer_one(shop, dynamodb):
    """The newest event time, then created time, then ingest id wins, in any order of writes."""
    online = OnlineStore(dynamodb, table="online")

    def publish(event, created, ingest, on_hand):
        batch = rows(shop.day, (("a", 1), event, created, on_hand, None)).append_column("ingest_id", pa.array([ingest]))
        return online.publish(STOCK, batch, now=shop.day(20))

    entities = pa.table({"store_id": ["a"], "item": [1]})
    assert publish(2, 2, "1", 1) == Published(written=1, kept=0)
    for older in ((1, 9, "9"), (2, 1, "9"), (2, 2, "0"), (2, 2, "1")):
        assert publish(*older, 5) == Published(written=0, kept=1)
    assert online.get(STOCK, entities, now=shop.day(20))["on_hand"].to_pylist() == [1]
    for newer, value in (((2, 2, "2"), 2), ((2, 3, "0"), 3), ((3, 0, "0"), None)):
        assert publish(*newer, value) == Published(written=1, kept=0)
    row = online.get(STOCK, entities, now=shop.day(20)).to_pylist()[0]
    assert (row["event_time"], row["on_hand"]) == (shop.day(3), None)


def test_a_row_that_is_not_visible_yet_is_left_and_said(shop, dynamodb):
    """The current item stays, and the result has the time of the next publication."""
    online = OnlineStore(dynamodb, table="online")
    batch = rows(shop.day, (("a", 1), 1, 1, 1, None), (("a", 1), 5, 2, 9, None), (("a", 2), 6, 2, 9, None))
    batch = batch.append_column("ingest_id", pa.array(["1", "2", "3"]))
    entities = pa.table({"store_id": ["a", "a"], "item": [1, 2]})
    wanted = Published(written=1, kept=0, not_visible=2, visible_from=shop.day(5))
    assert online.publish(STOCK, batch, now=shop.day(3)) == wanted
    assert online.get(STOCK, entities, now=shop.day(3))["on_hand"].to_pylist() == [1, None]
    assert online.publish(STOCK, batch, now=shop.day(6)) == Published(written=2, kept=0)
    assert online.get(STOCK, entities, now=shop.day(6))["on_hand"].to_pylist() == [9, 9]
    assert online.get(STOCK, entities, now=shop.day(5))["on_hand"].to_pylist() == [9, None]  # a clock that is behind


def test_forgotten_entities_are_gone(shop, dynamodb):
    """As after an erasure; entities without an item are not counted."""
    online = OnlineStore(dynamodb, table="online")
    batch = rows(shop.day, *((key, 1, 1, 1, None) for key in KEYS)).append_column("ingest_id", pa.array(["1"] * 4))
    online.publish(STOCK, batch, now=shop.day(2))
    some = pa.table({"store_id": ["a", "a", "nobody"], "item": [1, 1, 1]})
    assert online.forget(STOCK, some) == 1
    entities = pa.table({"store_id": [k[0] for k in KEYS], "item": [k[1] for k in KEYS]})
    assert online.get(STOCK, entities, now=shop.day(2))["on_hand"].to_pylist() == [None, 1, 1, 1]


class Busy:
    """DynamoDB that returns only some keys, as when throttled or beyond 16 MB."""

    def __init__(self, client, keys, *, answers=True):
        self._client, self._keys, self._answers, self.asked = client, keys, answers, []

    def batch_get_item(self, *, RequestItems):  # noqa: N803 - boto3's name
        """Return the first keys only."""
        ((table, requested),) = RequestItems.items()
        self.asked.append(len(requested["Keys"]))
        some = requested["Keys"][: self._keys] if self._answers else []
        got = (
            self._client.batch_get_item(RequestItems={table: {**requested, "Keys": some}})
            if some
            else {"Responses": {}}
        )
        rest = requested["Keys"][len(some) :]
        return {**got, "UnprocessedKeys": {table: {**requested, "Keys": rest}} if rest else {}}


def test_unprocessed_keys_are_asked_for_again(shop, dynamodb):
    """Hundreds of keys are read by the hundred, and unprocessed ones retried with growing delays."""
    count = 250
    batch = rows(shop.day, *((("s", n), 1, 1, n, None) for n in range(count)))
    batch = batch.append_column("ingest_id", pa.array(["1"] * count))
    assert OnlineStore(dynamodb, table="online").publish(STOCK, batch, now=shop.day(2)).written == count
    waits = []
    busy = Busy(dynamodb, 40)
    online = OnlineStore(busy, table="online", sleep=waits.append)
    found = online.get(STOCK, batch.select(["store_id", "item"]), now=shop.day(2))
    assert found["on_hand"].to_pylist() == list(range(count))
    assert sorted(busy.asked) == [10, 20, 20, 50, 60, 60, 100, 100]
    assert sorted(waits) == [0.05, 0.05, 0.05, 0.1, 0.1]
    silent = OnlineStore(Busy(dynamodb, 0, answers=False), table="online", sleep=waits.append)
    with pytest.raises(OnlineStoreError, match="table online left 1 keys unprocessed after 8 attempts"):
        silent.get(STOCK, batch.select(["store_id", "item"]).slice(0, 1), now=shop.day(2))


def test_fails_when_the_table_or_a_time_is_not_as_needed(shop, dynamodb):
    """Rejects a missing table and a time without a zone; nothing is written."""
    online = OnlineStore(dynamodb, table="none")
    entities = pa.table({"store_id": ["a"], "item": [1]})
    with pytest.raises(OnlineStoreError, match=r"BatchGetItem of table none failed: .*ResourceNotFoundException"):
        online.get(STOCK, entities, now=shop.day(1))
    with pytest.raises(OnlineStoreError, match="now must have a time zone"):
        OnlineStore(dynamodb, table="online").get(STOCK, entities, now=shop.day(1).replace(tzinfo=None))
    batch = rows(shop.day, (("a", 1), 1, 1, 1, None)).append_column("ingest_id", pa.array(["1"]))
    with pytest.raises(OnlineStoreError, match=r"PutItem of table none failed: .*ResourceNotFoundException"):
        online.publish(STOCK, batch, now=shop.day(2))


KEY_TYPES = {
    "stock_v1": {"store_id": "string", "item": "long"},
    "price_v1": {"item": "long"},
    "sale_v1": {"day": "date"},
}


def test_an_entity_is_forgotten_by_whole_keys_and_by_parts(dynamodb, shop):
    """In every feature table with the columns; strings are parsed as the key's types, and other entities' items stay."""
    online, day = OnlineStore(dynamodb, table="online"), shop.day
    price = FeatureGroup(
        name="price",
        entities=(Entity("item", "long", "item"),),
        features=(Feature("list_price", "double", "price"),),
        owner="demand",
        description="price",
    )
    stocks = rows(day, *((key, 1, 1, 5, 1.0) for key in KEYS))
    online.publish(STOCK, stocks.append_column("ingest_id", [["0"] * 4]), now=day(2))
    prices = {"item": [1, 11], "event_time": [day(1)] * 2, "created_time": [day(1)] * 2, "list_price": [1.0, 2.0]}
    online.publish(price, pa.table(prices | {"ingest_id": ["0", "0"]}), now=day(2))

    by_part = online.forget_entity({"item": "1"}, KEY_TYPES)
    again = online.forget_entity({"item": "1"}, KEY_TYPES)
    whole = online.forget_entity({"store_id": "a", "item": "2"}, KEY_TYPES)
    nobody = online.forget_entity({"item": "one"}, KEY_TYPES) | online.forget_entity({"shop": "1"}, KEY_TYPES)

    assert (by_part, again, whole, nobody) == ({"price_v1": 1, "stock_v1": 2}, {}, {"stock_v1": 1}, {})
    left = {item["entity"]["S"] for item in dynamodb.scan(TableName="online")["Items"]}
    assert left == {"price_v1/[11]", 'stock_v1/["",-1]', "#erased/price_v1", "#erased/stock_v1"}


def test_forgetting_by_a_part_reads_every_page(dynamodb):
    """A scan returns at most a megabyte per page.

    See: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html
    """
    for number in range(20):
        key = f'stock_v1/["{number}",{number % 2}]'
        dynamodb.put_item(TableName="online", Item={"entity": {"S": key}, "note": {"S": "x" * 60_000}})
    online = OnlineStore(dynamodb, table="online")

    assert "LastEvaluatedKey" in dynamodb.scan(TableName="online")
    assert online.forget_entity({"item": "1"}, KEY_TYPES) == {"stock_v1": 10}


def test_fails_to_forget_where_there_is_no_table(dynamodb, monkeypatch):
    """The failed call is named, for a whole and a partial key, and nothing is removed."""
    online = OnlineStore(dynamodb, table="absent")
    monkeypatch.setattr(online, "end_generation", lambda _: None)
    with pytest.raises(OnlineStoreError, match="DeleteItem of table absent failed"):
        online.forget_entity({"store_id": "a", "item": "2"}, KEY_TYPES)
    with pytest.raises(OnlineStoreError, match="Scan of table absent failed"):
        online.forget_entity({"store_id": "a"}, KEY_TYPES)
    monkeypatch.undo()
    with pytest.raises(OnlineStoreError, match="PutItem of table absent failed"):
        online.forget_entity({"store_id": "a"}, KEY_TYPES)


PRICE = FeatureGroup(
    name="price",
    entities=(Entity("item", "long", "item"),),
    features=(
        Feature("list_price", "double", "price", nullable=True),
        Feature("tags", "list<string>", "t", nullable=True),
    ),
    owner="demand",
    description="price",
    ttl=timedelta(days=3),
)


@pytest.fixture(params=["file", "dynamodb"])
def served(request, tmp_path, shop):
    """Return an online store of each kind with stocks and prices."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        make(client, "online")
        online = (
            OnlineStore.local(tmp_path / "online.db")
            if request.param == "file"
            else OnlineStore(client, table="online")
        )
        stocks = rows(shop.day, (("a", 1), 1, 1, 5, 1.0), (("b", 2), 1, 1, None, math.nan))
        online.publish(STOCK, stocks.append_column("ingest_id", [["0"] * 2]), now=shop.day(4))
        prices = {"item": [1, 2], "event_time": [shop.day(1), shop.day(0)], "created_time": [shop.day(1)] * 2}
        prices |= {"list_price": [0.5, 2.0], "tags": [["x", None], []], "ingest_id": ["0", "0"]}
        online.publish(PRICE, pa.table(prices), now=shop.day(4))
        yield online


def test_several_groups_are_read_at_once(served, shop):
    """Rows keep their order; keys may repeat, be null or unknown; missing values are reported by table."""
    entities = pa.table({"store_id": ["b", "a", "a", None, "z"], "item": [2, 1, 1, 1, None], "other": [1, 2, 3, 4, 5]})
    found = served.read([STOCK, PRICE], entities, now=shop.day(4))
    assert found.rows.column_names == [
        "store_id",
        "item",
        "other",
        "stock__on_hand",
        "stock__price",
        "price__list_price",
        "price__tags",
    ]
    assert found.rows.select(["store_id", "item", "other"]) == entities
    assert found.rows["stock__on_hand"].to_pylist() == [None, 5, 5, None, None]
    assert found.rows["price__list_price"].to_pylist() == [None, 0.5, 0.5, 0.5, None]
    assert found.rows["price__tags"].to_pylist() == [None, ["x", None], ["x", None], ["x", None], None]
    assert math.isnan(found.rows["stock__price"][0].as_py())
    # the price of item 2 has expired
    assert found.missing == {"stock_v1": (3, 4), "price_v1": (0, 4)}


def test_a_service_reads_its_columns_alone(served, shop):
    """In its order; empty input and pandas frames work too."""
    service = FeatureService(name="s", features=(PRICE, STOCK), columns={"stock": ["price"], "price": ["list_price"]})
    found = served.read(service, pa.table({"store_id": ["a"], "item": [1]}), now=shop.day(4), consistent=True)
    assert found.rows.to_pylist() == [{"store_id": "a", "item": 1, "price__list_price": 0.5, "stock__price": 1.0}]
    assert found.missing == {}
    none = served.read(service, pa.table({"store_id": pa.array([], pa.string()), "item": []}), now=shop.day(4))
    assert (none.rows.num_rows, none.missing) == (0, {})
    frame = pd.DataFrame({"store_id": ["a", "a"], "item": [1.0, None]})
    assert served.read(service, frame, now=shop.day(4)).rows["price__list_price"].to_pylist() == [0.5, None]


def test_one_group_is_read_by_two_keys(served, shop):
    """Each use has its name, in one read; an absent column is reported with its use."""
    uses = [
        GroupJoin(group=PRICE, name=name, on={"item": name}, columns=("list_price",)) for name in ("bought", "returned")
    ]
    service = FeatureService(name="two", features=uses)
    entities = pa.table({"bought": [1, 1], "returned": [None, 1]})
    found = served.read(service, entities, now=shop.day(4))
    assert found.rows.select(["bought__list_price", "returned__list_price"]).to_pydict() == {
        "bought__list_price": [0.5, 0.5],
        "returned__list_price": [None, 0.5],
    }
    assert found.missing == {"returned": (0,)}
    with pytest.raises(OnlineStoreError, match="entity rows have no column 'returned', keys of returned"):
        served.read(service, entities.drop_columns("returned"), now=shop.day(4))


def test_fails_when_entity_rows_are_not_as_needed(served, shop):
    """Rejects absent and wrong keys, columns with the names of features to read, and keys that are too long."""
    with pytest.raises(OnlineStoreError, match="group 'price': entity 'item' is missing, there are store_id"):
        served.read([PRICE], pa.table({"store_id": ["a"]}), now=shop.day(4))
    with pytest.raises(OnlineStoreError, match="entity 'item' is string in the entity rows and int64 in the table"):
        served.read([PRICE], pa.table({"item": ["1"]}), now=shop.day(4))
    with pytest.raises(OnlineStoreError, match="entity rows have price__tags, which would be read; omit these columns"):
        served.read([PRICE], pa.table({"item": [1], "price__tags": [1]}), now=shop.day(4))
    with pytest.raises(OnlineStoreError, match="1 keys have more than 2048 bytes"):
        served.read([STOCK], pa.table({"store_id": ["é" * 1100], "item": [1]}), now=shop.day(4))


def test_training_and_serving_are_equal_on_a_million_lookups(shop, tmp_path):
    """Planner and online store return the same rows bit for bit: ties, restatements, expiry, nulls, NaN, missing keys."""
    seed, lookups, entities_, days = 20261129, 1_000_000, 3_000, 12
    random = np.random.default_rng(seed)
    clock = [shop.day(days)]
    store = FeatureStoreClient.local(tmp_path / "store", now=lambda: clock[0])
    stock, price = replace(STOCK, online=True, ttl=timedelta(days=6)), replace(PRICE, online=True)
    for _ in range(4):
        count = 4_000
        at = [shop.day(int(event)) for event in random.integers(0, days, count)]
        known = [
            max(event, shop.day(int(created)))
            for event, created in zip(at, random.integers(0, days, count), strict=True)
        ]
        keys = {"store_id": [f"s{k}" for k in random.integers(0, entities_ // 10, count)]}
        keys |= {"item": random.integers(0, 10, count), "event_time": at, "created_time": known}
        values = pa.array(random.integers(0, 99, count), mask=random.random(count) < 0.1)
        money = random.choice([math.nan, -0.0, 0.1, 5e-324, math.inf], count)
        batch = pa.table(keys | {"on_hand": values, "price": pa.array(money, mask=random.random(count) < 0.1)})
        batch = batch.group_by(["store_id", "item", "event_time", "created_time"], use_threads=False).aggregate(
            [("on_hand", "first"), ("price", "first")]
        )
        store.backfill(
            stock, batch.rename_columns(["store_id", "item", "event_time", "created_time", "on_hand", "price"])
        )
        some = pa.table(
            {"item": np.arange(0, 9), "event_time": at[:9], "created_time": known[:9], "list_price": money[:9]}
        )
        store.backfill(price, some.append_column("tags", [[["a", None]] * 9]))
    entities = pa.table(
        {
            "store_id": pa.array([f"s{k}" for k in range(entities_ // 10 + 9)]).take(
                pa.array(random.integers(0, entities_ // 10 + 9, lookups), mask=random.random(lookups) < 0.01)
            ),
            "item": pa.array(random.integers(0, 11, lookups), mask=random.random(lookups) < 0.01),
        }
    )
    service = FeatureService(name="skew", features=(stock, price), columns={"price": ["list_price"]})
    served = store.read_online(service, entities)
    timed = entities.append_column(
        "event_timestamp", pa.repeat(pa.scalar(clock[0], pa.timestamp("us", "UTC")), lookups)
    )
    built = store.training_set(timed, service, name="skew")
    for column in service.column_names:
        one, other = (table[column].combine_chunks() for table in (built.rows, served.rows))
        if pa.types.is_floating(one.type):
            one, other = one.view(pa.int64()), other.view(pa.int64())
        assert one.equals(other), column
    assert {table: lookups - len(places) for table, places in served.missing.items()} == dict(built.matched)
    assert 0.1 * lookups < built.matched["stock_v1"] < 0.99 * lookups
