"""The frontier plan against a brute-force oracle, and what it refuses."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.features.planner import GroupRows, PlanError, point_in_time

START = datetime(2017, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")
FEATURE_SCHEMA = pa.schema(
    [
        ("store_id", pa.string()),
        ("event_time", TIME),
        ("created_time", TIME),
        ("ingest_id", pa.string()),
        ("units", pa.int64()),
        ("note", pa.string()),
    ]
)


def at(tick: int) -> datetime:
    """Return the time of a tick; few ticks make ties, late rows and restatements frequent."""
    return START + timedelta(microseconds=tick)


KEYS = st.sampled_from(["1", "2"])
TICKS = st.integers(0, 7)
FEATURES = st.lists(
    st.tuples(
        KEYS, TICKS, TICKS, st.sampled_from("ab"), st.none() | st.integers(0, 2), st.none() | st.sampled_from("xy")
    ),
    max_size=14,
)
ENTITIES = st.lists(st.tuples(st.none() | KEYS | st.just("unknown"), st.integers(-1, 10)), max_size=8)


def group(rows, ttl=None, name="stock", columns=("units", "note")) -> GroupRows:
    """Return a group whose rows are tuples in the order of the schema, with ticks as times."""
    records = [
        dict(zip(FEATURE_SCHEMA.names, (key, at(event), at(created), *rest), strict=True))
        for key, event, created, *rest in rows
    ]
    table = pa.Table.from_pylist(records, FEATURE_SCHEMA)
    return GroupRows(name=name, entities=("store_id",), columns=columns, ttl=ttl, rows=table)


def entity_rows(rows) -> pa.Table:
    """Return entity rows of key and tick."""
    return pa.table(
        {"store_id": pa.array([k for k, _ in rows], pa.string()), "at": pa.array([at(t) for _, t in rows], TIME)}
    )


def oracle(rows, features, ttl):
    """Return the expected (units, note) of each row by looking at every feature row."""
    expected = []
    for key, tick in rows:
        known = [f for f in features if f[0] == key and max(f[1], f[2]) <= tick]
        # nulls last, as the plan sorts values of rows that are equal in all else
        best = max(
            known,
            key=lambda f: (f[1], f[2], f[3], *((v is None, v if v is not None else 0) for v in f[4:])),
            default=None,
        )
        alive = best is not None and (ttl is None or tick - best[1] <= ttl)
        expected.append((best[4], best[5]) if alive else (None, None))
    return expected


@settings(max_examples=200, deadline=None)
@given(ENTITIES, FEATURES, st.none() | st.integers(1, 5))
def test_plan_equals_the_oracle(rows, features, ttl):
    """Late rows, restatements, ties, expiry, duplicates, unknown and missing keys, nulls: as looking at every row."""
    limit = None if ttl is None else timedelta(microseconds=ttl)
    result = point_in_time(entity_rows(rows), "at", [group(features, limit)])
    assert list(zip(result["units"].to_pylist(), result["note"].to_pylist(), strict=True)) == oracle(
        rows, features, ttl
    )
    assert result["row_id"].to_pylist() == list(range(len(rows)))
    assert result["store_id"].to_pylist() == [key for key, _ in rows]


@settings(max_examples=30, deadline=None)
@given(ENTITIES, FEATURES, st.randoms())
def test_order_of_the_feature_rows_does_not_count(rows, features, random):
    """Two files with the same rows give the same values."""
    shuffled = features.copy()
    random.shuffle(shuffled)
    one, other = (point_in_time(entity_rows(rows), "at", [group(f)]) for f in (features, shuffled))
    assert one.equals(other)


def test_late_value_is_not_used_before_it_arrived():
    """A value of tick 2 that arrived at tick 5 is unknown at tick 4."""
    result = point_in_time(entity_rows([("1", 4), ("1", 5)]), "at", [group([("1", 2, 5, "a", 9, None)])])
    assert result["units"].to_pylist() == [None, 9]


def test_restated_null_hides_the_older_value():
    """The row is picked before its columns: a correction to null is null."""
    rows = [("1", 2, 2, "a", 9, "x"), ("1", 2, 3, "b", None, "y")]
    result = point_in_time(entity_rows([("1", 4)]), "at", [group(rows)])
    assert (result["units"].to_pylist(), result["note"].to_pylist()) == ([None], ["y"])


def test_value_lives_to_the_last_microsecond():
    """The time to live includes its bound."""
    stock = group([("1", 0, 0, "a", 9, None)], timedelta(microseconds=3))
    result = point_in_time(entity_rows([("1", 3), ("1", 4)]), "at", [stock])
    assert result["units"].to_pylist() == [9, None]


def test_several_groups_keep_types_and_order():
    """Columns come in the order asked, with their own types."""
    first = group([("1", 0, 0, "a", 9, "x")], columns=("note",))
    second = group([("1", 0, 0, "a", 9, "x")], name="other", columns=("units",))
    result = point_in_time(entity_rows([("1", 3)]), "at", [first, second])
    assert result.schema.names == ["store_id", "at", "row_id", "note", "units"]
    assert result.schema.field("units").type == pa.int64()


def test_fails_with_every_misfit():
    """Missing columns, clashing names and differing key types are reported together."""
    rows = pa.table({"store_id": [1], "at": pa.array([None], TIME)})
    bad = group([], columns=("price",))
    with pytest.raises(PlanError) as error:
        point_in_time(rows, "at", [group([]), group([], name="again", columns=("units",)), bad])
    message = str(error.value)
    assert "1 entity rows have no 'at'" in message
    assert "key 'store_id' is int64 in the entity rows and string in stock; give both one type" in message
    assert "column 'units' of again clashes with stock; leave one of them out" in message
    assert "stock has no column 'price'" in message


def test_fails_without_the_key():
    """A group whose key the entity rows do not have cannot be joined."""
    with pytest.raises(PlanError, match="entity rows have no column 'store_id', which is a key of stock"):
        point_in_time(entity_rows([("1", 1)]).drop_columns(["store_id"]), "at", [group([])])
