"""The online store against the feature store's ``latest``, over DynamoDB."""

import itertools
import math
from datetime import timedelta

import boto3
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from mlops_runtime.features.group import Entity, Feature, FeatureGroup
from mlops_runtime.features.online import OnlineStore, Published
from mlops_runtime.features.online_item import OnlineStoreError

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


@pytest.fixture
def dynamodb():
    """Give DynamoDB with one table."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        make(client, "online")
        yield client


def make(client, name):
    """Make the table that the construct defines."""
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
    """Return a table's values with doubles as their bits, so that NaN equals NaN and zero not negative zero."""
    return table.set_column(
        table.schema.get_field_index("price"),
        "price",
        pa.chunked_array([chunk.view(pa.int64()) for chunk in table["price"].chunks], pa.int64()),
    ).to_pydict()


ROW = st.tuples(st.sampled_from(KEYS), st.integers(0, 6), st.integers(0, 6), st.none() | st.integers(0, 9), DOUBLES)
STEPS = st.lists(
    st.tuples(st.lists(ROW, min_size=1, max_size=4), st.sampled_from(["refresh", "scan", "none"])), max_size=3
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=STEPS, ttl=st.none() | st.integers(0, 4), bound=st.sampled_from(["inclusive", "exclusive"]), data=st.data()
)
def test_it_answers_as_latest_does(shop, dynamodb, tmp_path_factory, steps, ttl, bound, data):
    """Whatever was ingested, late, restated or ahead of its time, however it was published, each later read says the same.

    A scan publishes all rows in any order and in pieces, as several writers would.
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
    asked = pa.table({"store_id": [k[0] for k in (*KEYS, KEYS[0])], "item": [k[1] for k in (*KEYS, KEYS[0])]})
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
        assert bits(online.get(group, asked, now=shop.day(clock))) == bits(client.latest(group, asked))
    if not steps:
        return
    # later, when what was ahead is visible and the time to live of some is over
    later = (
        len(steps)
        + 1
        + data.draw(st.integers(0, 8))
        + data.draw(st.sampled_from([0, 1e-6 / 86400, -1e-6 / 86400]))
        + 0.0
    )
    shop.set_day(later)
    online.publish(group, client.table(group.table_name).scan().to_arrow(), now=shop.day(later))
    found, wanted = online.get(group, asked, now=shop.day(later)), client.latest(group, asked)
    assert bits(found) == bits(wanted)
    assert found.schema.types == wanted.schema.types


def test_an_older_row_never_replaces_a_newer_one(shop, dynamodb):
    """Whoever comes last: newest event time, then created time, then ingest id."""
    online = OnlineStore(dynamodb, table="online")

    def publish(event, created, ingest, on_hand):
        batch = rows(shop.day, (("a", 1), event, created, on_hand, None)).append_column("ingest_id", pa.array([ingest]))
        return online.publish(STOCK, batch, now=shop.day(20))

    asked = pa.table({"store_id": ["a"], "item": [1]})
    assert publish(2, 2, "1", 1) == Published(written=1, kept=0)
    for older in ((1, 9, "9"), (2, 1, "9"), (2, 2, "0"), (2, 2, "1")):
        assert publish(*older, 5) == Published(written=0, kept=1)
    assert online.get(STOCK, asked, now=shop.day(20))["on_hand"].to_pylist() == [1]
    for newer, value in (((2, 2, "2"), 2), ((2, 3, "0"), 3), ((3, 0, "0"), None)):
        assert publish(*newer, value) == Published(written=1, kept=0)
    row = online.get(STOCK, asked, now=shop.day(20)).to_pylist()[0]
    assert (row["event_time"], row["on_hand"]) == (shop.day(3), None)


def test_a_row_that_is_not_visible_yet_is_left_and_said(shop, dynamodb):
    """What counts now stays; the answer says when to publish again."""
    online = OnlineStore(dynamodb, table="online")
    batch = rows(shop.day, (("a", 1), 1, 1, 1, None), (("a", 1), 5, 2, 9, None), (("a", 2), 6, 2, 9, None))
    batch = batch.append_column("ingest_id", pa.array(["1", "2", "3"]))
    asked = pa.table({"store_id": ["a", "a"], "item": [1, 2]})
    wanted = Published(written=1, kept=0, not_visible=2, visible_from=shop.day(5))
    assert online.publish(STOCK, batch, now=shop.day(3)) == wanted
    assert online.get(STOCK, asked, now=shop.day(3))["on_hand"].to_pylist() == [1, None]
    assert online.publish(STOCK, batch, now=shop.day(6)) == Published(written=2, kept=0)
    assert online.get(STOCK, asked, now=shop.day(6))["on_hand"].to_pylist() == [9, 9]
    assert online.get(STOCK, asked, now=shop.day(5))["on_hand"].to_pylist() == [9, None]  # a clock that is behind


def test_forgotten_entities_are_gone(shop, dynamodb):
    """As after an erasure; what had no item is not counted."""
    online = OnlineStore(dynamodb, table="online")
    batch = rows(shop.day, *((key, 1, 1, 1, None) for key in KEYS)).append_column("ingest_id", pa.array(["1"] * 4))
    online.publish(STOCK, batch, now=shop.day(2))
    some = pa.table({"store_id": ["a", "a", "nobody"], "item": [1, 1, 1]})
    assert online.forget(STOCK, some) == 1
    asked = pa.table({"store_id": [k[0] for k in KEYS], "item": [k[1] for k in KEYS]})
    assert online.get(STOCK, asked, now=shop.day(2))["on_hand"].to_pylist() == [None, 1, 1, 1]


class Busy:
    """DynamoDB that answers for a few keys at a time, as it does when it is throttled or an answer has 16 MB."""

    def __init__(self, client, keys, *, answers=True):
        self._client, self._keys, self._answers, self.asked = client, keys, answers, []

    def batch_get_item(self, *, RequestItems):  # noqa: N803 - boto3's name
        """Answer for the first keys alone."""
        ((table, asked),) = RequestItems.items()
        self.asked.append(len(asked["Keys"]))
        some = asked["Keys"][: self._keys] if self._answers else []
        got = self._client.batch_get_item(RequestItems={table: {**asked, "Keys": some}}) if some else {"Responses": {}}
        rest = asked["Keys"][len(some) :]
        return {**got, "UnprocessedKeys": {table: {**asked, "Keys": rest}} if rest else {}}


def test_unprocessed_keys_are_asked_for_again(shop, dynamodb):
    """Hundreds of keys in parts of a hundred, and what was not answered once more, after longer and longer waits."""
    count = 250
    batch = rows(shop.day, *((("s", n), 1, 1, n, None) for n in range(count)))
    batch = batch.append_column("ingest_id", pa.array(["1"] * count))
    assert OnlineStore(dynamodb, table="online").publish(STOCK, batch, now=shop.day(2)).written == count
    waits = []
    busy = Busy(dynamodb, 40)
    online = OnlineStore(busy, table="online", sleep=waits.append)
    found = online.get(STOCK, batch.select(["store_id", "item"]), now=shop.day(2))
    assert found["on_hand"].to_pylist() == list(range(count))
    assert busy.asked == [100, 60, 20, 100, 60, 20, 50, 10]
    assert waits == [0.05, 0.1, 0.05, 0.1, 0.05]
    silent = OnlineStore(Busy(dynamodb, 0, answers=False), table="online", sleep=waits.append)
    with pytest.raises(OnlineStoreError, match="table online did not answer for 1 keys after 8 attempts"):
        silent.get(STOCK, batch.select(["store_id", "item"]).slice(0, 1), now=shop.day(2))


def test_fails_when_the_table_or_a_time_is_not_as_needed(shop, dynamodb):
    """A table that is absent, and a time without a zone, are named; nothing is written."""
    online = OnlineStore(dynamodb, table="none")
    asked = pa.table({"store_id": ["a"], "item": [1]})
    with pytest.raises(OnlineStoreError, match=r"BatchGetItem of table none failed: .*ResourceNotFoundException"):
        online.get(STOCK, asked, now=shop.day(1))
    with pytest.raises(OnlineStoreError, match="now must have a time zone"):
        OnlineStore(dynamodb, table="online").get(STOCK, asked, now=shop.day(1).replace(tzinfo=None))
    batch = rows(shop.day, (("a", 1), 1, 1, 1, None)).append_column("ingest_id", pa.array(["1"]))
    with pytest.raises(OnlineStoreError, match=r"PutItem of table none failed: .*ResourceNotFoundException"):
        online.publish(STOCK, batch, now=shop.day(2))


KEY_TYPES = {
    "stock_v1": {"store_id": "string", "item": "long"},
    "price_v1": {"item": "long"},
    "sale_v1": {"day": "date"},
}


def test_an_entity_is_forgotten_by_whole_keys_and_by_parts(dynamodb, shop):
    """In every feature table that has the columns; texts are read as the key's types, and others' items stay."""
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
    assert left == {"price_v1/[11]", 'stock_v1/["",-1]'}


def test_forgetting_by_a_part_reads_every_page(dynamodb):
    """A scan answers a megabyte at a time.

    See: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html
    """
    for number in range(20):
        key = f'stock_v1/["{number}",{number % 2}]'
        dynamodb.put_item(TableName="online", Item={"entity": {"S": key}, "note": {"S": "x" * 60_000}})
    online = OnlineStore(dynamodb, table="online")

    assert "LastEvaluatedKey" in dynamodb.scan(TableName="online")
    assert online.forget_entity({"item": "1"}, KEY_TYPES) == {"stock_v1": 10}


def test_fails_to_forget_where_there_is_no_table(dynamodb):
    """By the call that failed, for a whole key and for a part."""
    online = OnlineStore(dynamodb, table="absent")
    with pytest.raises(OnlineStoreError, match="DeleteItem of table absent failed"):
        online.forget_entity({"store_id": "a", "item": "2"}, KEY_TYPES)
    with pytest.raises(OnlineStoreError, match="Scan of table absent failed"):
        online.forget_entity({"store_id": "a"}, KEY_TYPES)
