"""Checks of a training set's request before any table is read."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.training_set_request import TrainingSetError, read_entities, requested, resolved

TABLES = ("price_v1", "price_v2", "stock_v1")
ROWS = pa.table({"store_id": ["1"], "event_timestamp": [datetime(2017, 1, 1, tzinfo=UTC)]})


def test_times_of_entity_rows_are_microseconds_in_utc() -> None:
    """From any zone and unit."""
    rows = ROWS.set_column(1, "event_timestamp", ROWS["event_timestamp"].cast(pa.timestamp("s", "America/New_York")))

    assert read_entities(rows, "event_timestamp").equals(ROWS.cast(read_entities(ROWS, "event_timestamp").schema))


def test_defaults_leave_nothing_out() -> None:
    """Known-at semantics, current snapshots, no limit of the created time."""
    request = requested(ROWS, {"stock": ["on_hand"]}, name="shelves")

    assert (request.semantics, request.as_of, request.snapshots, request.engine) == ("known_at", None, {}, None)


def test_a_group_is_its_only_version_or_its_table() -> None:
    """With two versions, the name is ambiguous."""
    assert resolved("s", ["stock", "price_v2"], TABLES) == {"stock": "stock_v1", "price_v2": "price_v2"}
    with pytest.raises(TrainingSetError, match="group 'price' has versions price_v1, price_v2; name one of them"):
        resolved("s", ["price"], TABLES)


def test_fails_with_every_problem_of_the_request() -> None:
    """All problems are reported together."""
    with pytest.raises(TrainingSetError, match=r"name must match .*, got 'a b'; semantics must be one of"):
        requested(ROWS, {}, name="a b", semantics="x")  # type: ignore[arg-type]


def test_fails_for_rows_that_say_a_thing_twice_or_not_at_all() -> None:
    """Rejects duplicate columns and null times."""
    twice = pa.Table.from_arrays([*ROWS.columns, ROWS.columns[0]], [*ROWS.column_names, "store_id"])
    with pytest.raises(TrainingSetError, match="column 'store_id' appears 2 times; give it once"):
        read_entities(twice, "event_timestamp")
    nulls = ROWS.set_column(1, "event_timestamp", pa.nulls(1, pa.timestamp("us", "UTC")))
    with pytest.raises(TrainingSetError, match="1 entity rows have no 'event_timestamp'; omit these rows"):
        read_entities(nulls, "event_timestamp")


def test_times_without_a_zone_are_read_in_the_one_that_is_named() -> None:
    """Times with a zone keep theirs; ambiguous and skipped local times, and times without any zone, are rejected."""
    noon = pa.table({"store_id": ["1"], "event_timestamp": [datetime(2017, 1, 1, 12)]})
    read = read_entities(noon, "event_timestamp", "America/New_York")
    assert read["event_timestamp"].to_pylist() == [datetime(2017, 1, 1, 17, tzinfo=UTC)]
    assert read_entities(ROWS, "event_timestamp", "America/New_York").equals(read_entities(ROWS, "event_timestamp"))
    with pytest.raises(
        TrainingSetError, match=r"must be a timestamp with a time zone, got timestamp\[us\]; set time_zone="
    ):
        read_entities(noon, "event_timestamp")
    twice = pa.table({"store_id": ["1"], "event_timestamp": [datetime(2017, 11, 5, 1, 30)]})
    with pytest.raises(
        TrainingSetError,
        match=r"'event_timestamp' is ambiguous or nonexistent local time of America/New_York in 1 rows",
    ):
        read_entities(twice, "event_timestamp", "America/New_York")


STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand"),),
    owner="demand",
    description="stock",
)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            STOCK,
            "features must be a FeatureService, feature groups or joins of them such as [SALES], or columns by name of group such "
            "as {'sales': ['units']}",
        ),
        (STOCK, "got a single group; put it into a list"),
        ("stock", "got 'stock'"),
        (None, "got None"),
        (["stock", STOCK, 5], "got 'stock', 5 in the list"),
        ([STOCK, STOCK], "features has 2 groups of table stock_v1; give it once"),
        ({"sales": "units"}, "columns of 'sales' must be a list of names, got 'units'; give ['units']"),
        ({"sales": ["units", 5]}, "columns of 'sales' must be a list of names, got ['units', 5]"),
        ({"sales": {"units"}}, "columns of 'sales' must be a list of names, got {'units'}"),
        ({STOCK: ["on_hand"]}, "got FeatureGroup as the name of a group"),
    ],
)
def test_features_of_other_types_are_refused(features, message) -> None:
    """The error lists the allowed types."""
    with pytest.raises(TrainingSetError) as error:
        requested(ROWS, features)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("name", 5, "name must match"),
        ("name", None, "name must match"),
        ("timestamp", 5, "timestamp must be the name of a column, got 5"),
        ("semantics", ["known_at"], "semantics must be one of known_at, event_time, got ['known_at']"),
        ("as_of", "2017-01-01", "as_of must have a time zone, got '2017-01-01'; give a datetime"),
        ("as_of", date(2017, 1, 1), "as_of must have a time zone, got datetime.date(2017, 1, 1)"),
        ("memory", "8G", "memory must be a whole number of bytes, got '8G'"),
        ("memory", True, "memory must be a whole number of bytes, got True"),
        ("snapshots", [7], "snapshots must be ids of snapshots by name of group, got [7]"),
        ("snapshots", {"stock": "7"}, "snapshots must be ids of snapshots by name of group, got 'stock': '7'"),
        ("source", "4c1f", "source must be strings by name, such as {'commit': '4c1f'}, got '4c1f'"),
        (
            "source",
            {"dirty": True, "commit": "x"},
            "source must be strings by name, such as {'commit': '4c1f'}, got 'dirty': True",
        ),
        ("source", {7: "x"}, "got 7: 'x'"),
    ],
)
def test_arguments_of_other_types_are_refused(argument, value, message) -> None:
    """Each is rejected by name before any read."""
    with pytest.raises(TrainingSetError) as error:
        requested(ROWS, [STOCK], **{argument: value})
    assert message in str(error.value)
