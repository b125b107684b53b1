"""Both join plans under both semantics against two brute-force oracles, and rejected requests.

The newest values by key or of all keys. Groups without any matched row: the warning names the cause and the fix.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.types import DoubleType
from tests.runtime.features.oracles import ORACLES, Seen, differing

from mlops_runtime.features.batch_checks import BatchError
from mlops_runtime.features.feature_group import Feature
from mlops_runtime.features.point_in_time import GroupRows, PlanError, UnmatchedGroupWarning, explained, point_in_time

START = datetime(2017, 1, 1, tzinfo=UTC)
BASE = 1_483_228_800_000_000  # START in microseconds
TIME = pa.timestamp("us", "UTC")
NAN = float("nan")
FEATURE_SCHEMA = pa.schema(
    [
        ("store_id", pa.string()),
        ("sku", pa.int64()),
        ("event_time", TIME),
        ("created_time", TIME),
        ("ingest_id", pa.string()),
        ("units", pa.float64()),
        ("note", pa.string()),
    ]
)
COLUMNS = ("units", "note")
EITHER_PLAN = pytest.mark.parametrize("plan", ["frontier", "fan_out"])
EITHER_MEANING = pytest.mark.parametrize("semantics", ["known_at", "event_time"])


def at(tick: int) -> datetime:
    """Return the time of a tick; few ticks make ties, late rows and restatements frequent."""
    return START + timedelta(microseconds=tick)


STORES = st.sampled_from(["1", "2"])
SKUS = st.integers(0, 1)
TICKS = st.integers(0, 7)
UNITS = st.sampled_from([None, NAN, 0.0, 1.0, 2.0])
NOTES = st.none() | st.sampled_from("xy")
FEATURES = st.lists(st.tuples(STORES, SKUS, TICKS, TICKS, st.sampled_from("abc"), UNITS, NOTES), max_size=16)
# many restatements of one event of a key
RESTATED = st.lists(st.tuples(st.just("1"), st.just(0), st.integers(2, 3), TICKS, st.sampled_from("abc"), UNITS, NOTES))
ENTITIES = st.lists(st.tuples(STORES | st.just("unknown"), SKUS, st.integers(-1, 10)), max_size=8)
LIVES = st.none() | st.tuples(st.integers(0, 5), st.booleans()).filter(lambda life: life[0] > 0 or life[1])


def group(rows, ttl=None, name="stock", columns=COLUMNS, entities=("store_id", "sku"), **options) -> GroupRows:
    """Return a group from row tuples in schema order, with ticks as times."""
    records = [
        dict(zip(FEATURE_SCHEMA.names, (store, sku, at(event), at(created), *rest), strict=True))
        for store, sku, event, created, *rest in rows
    ]
    table = pa.Table.from_pylist(records, FEATURE_SCHEMA)
    return GroupRows(name=name, entities=entities, columns=columns, ttl=ttl, rows=table, **options)


def entity_rows(rows) -> pa.Table:
    """Return entity rows of store, sku and tick."""
    return pa.table(
        {
            "store_id": pa.array([store for store, _, _ in rows], pa.string()),
            "sku": pa.array([sku for _, sku, _ in rows], pa.int64()),
            "at": pa.array([at(tick) for *_, tick in rows], TIME),
        }
    )


def seen(features, keys=2) -> list[Seen]:
    """Return feature rows as input of the oracles."""
    return [Seen(f[:keys], BASE + f[2], BASE + f[3], f[4], f[5:]) for f in features]


def expected(semantics, rows, features, life, nanoseconds=0):
    """Return the oracle's result for each row."""
    ttl, inclusive = (None, True) if life is None else life
    return [
        ORACLES[semantics](row[:2], (BASE + row[2]) * 1000 + nanoseconds, seen(features), ttl, inclusive, 2)
        for row in rows
    ]


def lifetimes(life) -> dict:
    """Return the arguments of a group for a lifetime in ticks."""
    return {} if life is None else {"ttl": timedelta(microseconds=life[0]), "ttl_inclusive": life[1]}


@EITHER_PLAN
@EITHER_MEANING
@settings(max_examples=40, deadline=None)
@given(rows=ENTITIES, features=FEATURES | RESTATED, life=LIVES)
def test_plan_equals_the_oracle(plan, semantics, rows, features, life):
    """Covers late rows, restatements, ties, expiry at both bounds, duplicates, unknown keys, null and NaN."""
    result = point_in_time(
        entity_rows(rows), "at", [group(features, **lifetimes(life))], semantics=semantics, plan=plan
    )
    assert differing(result, COLUMNS, expected(semantics, rows, features, life)) == []
    assert result["row_id"].to_pylist() == list(range(len(rows)))
    assert list(zip(result["store_id"].to_pylist(), result["sku"].to_pylist(), strict=True)) == [r[:2] for r in rows]


@EITHER_PLAN
@EITHER_MEANING
@settings(max_examples=25, deadline=None)
@given(
    rows=ENTITIES,
    features=FEATURES,
    life=LIVES,
    unit=st.sampled_from(["us", "ns"]),
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "America/St_Johns", "+05:45"]),
    nanoseconds=st.sampled_from([0, 1, 999]),
)
def test_units_and_zones_of_entity_times_do_not_change_the_moment(
    plan, semantics, rows, features, life, unit, zone, nanoseconds
):
    """A time is the same instant in any unit; nanoseconds are exact at both bounds."""
    finer = nanoseconds if unit == "ns" else 0
    table = entity_rows(rows)
    moments = pa.array([(BASE + tick) * (1000 if unit == "ns" else 1) + finer for *_, tick in rows], pa.int64())
    table = table.set_column(2, "at", moments.cast(pa.timestamp(unit, zone)))
    stock = group(features, **lifetimes(life))
    result = point_in_time(table, "at", [stock], semantics=semantics, plan=plan)
    assert differing(result, COLUMNS, expected(semantics, rows, features, life, finer)) == []
    assert result.schema.field("at").type == pa.timestamp(unit, zone)


@EITHER_PLAN
@pytest.mark.parametrize("unit", ["s", "ms"])
def test_coarse_units_mix_with_microseconds(plan, unit):
    """Entity rows in seconds match values in microseconds."""
    rows = pa.table(
        {"store_id": ["1", "1"], "sku": [0, 0], "at": pa.array([at(-1_000_000), START], pa.timestamp(unit, "UTC"))}
    )
    stock = group([("1", 0, -1, -1, "a", 9.0, None), ("1", 0, 1, 1, "b", 8.0, None)])
    assert point_in_time(rows, "at", [stock], plan=plan)["units"].to_pylist() == [None, 9.0]


@settings(max_examples=30, deadline=None)
@given(ENTITIES, FEATURES, st.randoms())
def test_order_of_the_feature_rows_does_not_count(rows, features, random):
    """Two files with the same rows give the same values."""
    shuffled = features.copy()
    random.shuffle(shuffled)
    one, other = (point_in_time(entity_rows(rows), "at", [group(f)]) for f in (features, shuffled))
    assert differing(one, COLUMNS, zip(*(other[name].to_pylist() for name in COLUMNS), strict=True)) == []


def test_late_value_is_used_before_it_arrived_under_event_time_alone():
    """A value of tick 2 that arrived at tick 5 is unknown at tick 4, except by event time alone."""
    stock = group([("1", 0, 2, 5, "a", 9.0, None)])
    rows = entity_rows([("1", 0, 4), ("1", 0, 5)])
    assert point_in_time(rows, "at", [stock])["units"].to_pylist() == [None, 9.0]
    assert point_in_time(rows, "at", [stock], semantics="event_time")["units"].to_pylist() == [9.0, 9.0]


@EITHER_PLAN
def test_restated_null_hides_the_older_value(plan):
    """Rows are selected before columns: a correction to null is null."""
    rows = [("1", 0, 2, 2, "a", 9.0, "x"), ("1", 0, 2, 3, "b", None, "y")]
    result = point_in_time(entity_rows([("1", 0, 4)]), "at", [group(rows)], plan=plan)
    assert (result["units"].to_pylist(), result["note"].to_pylist()) == ([None], ["y"])


@EITHER_PLAN
@pytest.mark.parametrize(
    ("ttl", "inclusive", "found"),
    [(3, True, [9.0, 9.0, 9.0, None]), (3, False, [9.0, 9.0, None, None]), (0, True, [9.0, None, None, None])],
)
def test_value_lives_exactly_as_long_as_said(plan, ttl, inclusive, found):
    """The last instant counts with an inclusive bound; a lifetime of zero is a single instant."""
    stock = group([("1", 0, 0, 0, "a", 9.0, None)], timedelta(microseconds=ttl), ttl_inclusive=inclusive)
    result = point_in_time(entity_rows([("1", 0, tick) for tick in (0, 2, 3, 4)]), "at", [stock], plan=plan)
    assert result["units"].to_pylist() == found


def test_several_groups_keep_types_and_order():
    """Columns come in the requested order with their types and the given names."""
    first = group([("1", 0, 0, 0, "a", 9.0, "x")], columns=("note",), names={"note": "stock__note"})
    second = group([("1", 0, 0, 0, "a", 9.0, "x")], name="other", columns=("units", "note"))
    result = point_in_time(entity_rows([("1", 0, 3)]), "at", [first, second])
    assert result.schema.names == ["store_id", "sku", "at", "row_id", "stock__note", "units", "note"]
    assert result.schema.field("units").type == pa.float64()


def test_row_ids_that_are_there_are_kept_and_order_the_result():
    """Rows are ordered by the given ids."""
    rows = entity_rows([("1", 0, 3), ("1", 0, 1), ("2", 0, 3)]).add_column(0, "row_id", pa.array([7, -2, 5]))
    result = point_in_time(rows, "at", [group([("1", 0, 2, 2, "a", 9.0, "x")])])
    assert result.schema.names == ["row_id", "store_id", "sku", "at", "units", "note"]
    assert result["row_id"].to_pylist() == [-2, 5, 7]
    assert result["units"].to_pylist() == [None, None, 9.0]


@EITHER_PLAN
@EITHER_MEANING
def test_empty_tables(plan, semantics):
    """No feature rows give nulls of the right type; no entity rows give no rows."""
    result = point_in_time(entity_rows([("1", 0, 3)]), "at", [group([])], semantics=semantics, plan=plan)
    assert result["units"].to_pylist() == [None]
    assert result.schema.field("note").type == pa.string()
    assert point_in_time(entity_rows([]), "at", [group([("1", 0, 2, 2, "a", 9.0, "x")])], plan=plan).num_rows == 0


@EITHER_PLAN
def test_how_a_string_is_laid_out_does_not_count(plan):
    """A dictionary (as of pandas' categories) and a large string are the same key."""
    stock = group([("1", 0, 2, 2, "a", 9.0, "x")], entities=("store_id",))
    for kind in (pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string_view()):
        rows = entity_rows([("1", 0, 3)])
        rows = rows.set_column(0, "store_id", rows["store_id"].combine_chunks().cast(kind))
        result = point_in_time(rows, "at", [stock], plan=plan)
        assert result["units"].to_pylist() == [9.0]


@pytest.mark.parametrize("plan", ["frontier", "fan_out"])
def test_rows_without_a_key_have_no_value(plan):
    """They stay without a match; keys of another width match by value."""
    rows = pa.table({"store_id": ["1", None, "1"], "sku": pa.array([0, 0, None], pa.uint8()), "at": [at(3)] * 3})
    result = point_in_time(rows, "at", [group([("1", 0, 2, 2, "a", 9.0, "x")])], plan=plan)
    assert result["units"].to_pylist() == [9.0, None, None]


def test_says_which_plan_and_why():
    """The choice is reported before anything is built."""
    few = explained(entity_rows([("1", 0, 3)]), "at", group([("1", 0, 2, 2, "a", 9.0, "x")]))
    history = group([("1", 0, tick, tick, "a", 9.0, "x") for tick in range(90)])
    many = explained(entity_rows([("1", 0, 100)] * 10), "at", history)
    assert (few.plan, many.plan) == ("fan_out", "frontier")
    assert many.reason == "each of 10 entity rows joins about 45.0 feature rows, 450 pairs; fan_out up to 100"


def test_fails_with_every_misfit():
    """Missing columns, clashing names, differing key types and ids are reported together."""
    rows = pa.table(
        {"store_id": [1, None], "sku": [0, 0], "at": pa.array([None, at(0)], TIME), "row_id": pa.array([4, 4])}
    )
    bad = group([], columns=("price",))
    odd = group([], timedelta(0), name="odd", columns=("note",), names={"note": "other"}, ttl_inclusive=False)
    with pytest.raises(PlanError) as error:
        point_in_time(
            rows, "at", [group([]), group([], name="again", columns=("units",)), bad, odd], semantics="now", plan="best"
        )
    message = str(error.value)
    assert "1 entity rows have no 'at'" in message
    assert "key 'store_id' of stock is int64 in the entity rows and string in the table; give both one type" in message
    assert "column 'units' of again clashes with stock; omit one of them" in message
    assert "stock has no column 'price'" in message
    assert "'row_id' has 1 different values in 2 entity rows; make them unique, or omit the column" in message
    assert "semantics must be known_at or event_time, got 'now'" in message
    assert "plan must be frontier or fan_out, got 'best'" in message
    assert "ttl of odd must not be negative, and must be positive if it is exclusive" in message


@pytest.mark.parametrize("name", ["at", "event_time"])
def test_fails_for_times_without_a_zone(name):
    """Rejects times without a zone instead of assuming one."""
    rows, stock = entity_rows([("1", 0, 3)]), group([])
    naive = pa.array([], pa.timestamp("us")) if name == "event_time" else pa.array([None], pa.timestamp("us"))
    if name == "at":
        rows = rows.set_column(2, "at", naive)
    else:
        table = stock.rows.set_column(2, name, naive)
        stock = GroupRows(name="stock", entities=stock.entities, columns=COLUMNS, ttl=None, rows=table)
    with pytest.raises(PlanError, match=f"'{name}' of .* must be a timestamp with a time zone, got timestamp"):
        point_in_time(rows, "at", [stock])


def test_fails_without_the_key_or_with_an_odd_row_id():
    """Entity rows must contain the group's key, and row ids must be integers."""
    rows = entity_rows([("1", 0, 1)]).drop_columns(["store_id"]).append_column("row_id", pa.array(["a"]))
    with pytest.raises(PlanError) as error:
        point_in_time(rows, "at", [group([])])
    assert "entity rows have no column 'store_id', which is a key of stock" in str(error.value)
    assert "'row_id' of the entity rows must be int64, got string; cast it, or omit it" in str(error.value)


def test_keys_are_answered_in_their_order(filled):
    """Rows without a match have nulls."""
    filled.set_day(9.5)
    found = filled.client.latest(filled.STOCK, pa.table({"store_id": ["2", "1", "2"]}))

    assert found.column_names == ["store_id", "event_time", "created_time", "ingest_id", "on_hand"]
    assert found["store_id"].to_pylist() == ["2", "1", "2"]
    assert found["on_hand"].to_pylist() == [None, 90, None]


def test_what_is_not_visible_yet_does_not_count(shop):
    """A row counts from the later of its two times."""
    shop.client.ingest(shop.STOCK, shop.stock((2, 1, 1), (5, 2, 3)))
    shop.set_day(4)
    assert shop.client.latest(shop.STOCK)["on_hand"].to_pylist() == [1]
    shop.set_day(5)
    assert shop.client.latest(shop.STOCK)["on_hand"].to_pylist() == [2]


def test_a_table_without_rows_answers_nothing(shop):
    """Requested keys get nulls."""
    shop.client._tables.writable(shop.STOCK)

    assert shop.client.latest(shop.STOCK).num_rows == 0
    assert shop.client.latest(shop.STOCK, pa.table({"store_id": ["1"]}))["on_hand"].to_pylist() == [None]


def test_fails_for_what_is_no_frame(filled):
    """Has the same checks as an ingest."""
    with pytest.raises(BatchError, match="a pyarrow table, pandas or polars frame is required"):
        filled.client.latest(filled.STOCK, {"store_id": ["1"]})


def test_a_feature_newer_than_the_newest_batch_is_null(filled):
    """A deployment adds the column before any ingest writes it."""
    with filled.client.table("stock_v1").update_schema() as update:
        update.add_column("price", DoubleType())
    price = Feature("price", "double", "dollars", nullable=True)
    group = replace(filled.STOCK, features=(*filled.STOCK.features, price))

    filled.set_day(9.5)
    row = filled.client.latest(group).to_pylist()[0]
    assert (row["on_hand"], row["price"]) == (90, None)


def test_fails_without_a_key(filled):
    """The error names the key."""
    with pytest.raises(PlanError, match="entity rows have no column 'store_id', which is a key of stock"):
        filled.client.latest(filled.STOCK, pa.table({"shop": ["1"]}))


def test_the_time_to_live_is_the_tables(filled):
    """As for training sets, a declaration ahead of the deployed table does not apply."""
    for ttl, bound in ((None, "inclusive"), (timedelta(hours=1), "inclusive"), (timedelta(days=2), "exclusive")):
        group = replace(filled.STOCK, ttl=ttl, ttl_bound=bound)
        for now in (11, 11.1):
            filled.set_day(now)
            built = filled.client.training_set(filled.asked((now, "1")), {"stock": ["on_hand"]}, name="s")
            found = filled.client.latest(group, pa.table({"store_id": ["1"]}))
            assert (
                found["on_hand"].to_pylist() == built.rows["stock__on_hand"].to_pylist() == [90 if now == 11 else None]
            )


def test_history_that_was_ingested_names_backfill(shop):
    """Rows that became known at the load are unknown at earlier times; by event time they match."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 10, 1), (2, 20, 2)).drop_columns(["created_time"]))
    with pytest.warns(UnmatchedGroupWarning, match="2 of 2 would by event time.*load history by backfill"):
        built = shop.client.training_set(shop.asked((2, "1"), (3, "1")), {"stock": ["on_hand"]}, name="late")
    assert built.matched == {"stock_v1": 0}
    asked = shop.asked((2, "1"), (3, "1"))
    found = shop.client.training_set(asked, {"stock": ["on_hand"]}, name="late", semantics="event_time")
    assert (found.matched, found.warnings) == ({"stock_v1": 2}, ())


def test_history_that_was_backfilled_is_found_without_a_warning(shop, recwarn):
    """Matches are counted, in the manifest too."""
    shop.client.backfill(shop.STOCK, shop.stock((1, 10, 1), (2, 20, 2)))
    built = shop.client.training_set(shop.asked((2, "1"), (3, "2")), {"stock": ["on_hand"]}, name="known")
    assert built.manifest.output.matched == {"stock_v1": 1}
    assert not [each for each in recwarn if each.category is UnmatchedGroupWarning]


def test_other_keys_are_named(filled):
    """If times do not explain it; names the time to live as a possible cause."""
    with pytest.warns(UnmatchedGroupWarning, match="its rows have other values of store_id.*time to live of 2 days"):
        filled.client.training_set(filled.asked((3, "9")), {"stock": ["on_hand"]}, name="other")


def test_no_entity_rows_are_no_warning(filled, recwarn):
    """No row could have matched."""
    filled.client.training_set(filled.asked(), {"stock": ["on_hand"]}, name="none")
    assert not [each for each in recwarn if each.category is UnmatchedGroupWarning]
