"""What may be asked of a training set, before any table is looked at."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from mlops_runtime.features.request import TrainingSetError, read_entities, requested, resolved

TABLES = ("price_v1", "price_v2", "stock_v1")
ROWS = pa.table({"store_id": ["1"], "event_timestamp": [datetime(2017, 1, 1, tzinfo=UTC)]})


def test_times_of_entity_rows_are_microseconds_in_utc() -> None:
    """Whatever zone and unit they came in."""
    rows = ROWS.set_column(1, "event_timestamp", ROWS["event_timestamp"].cast(pa.timestamp("s", "America/New_York")))

    assert read_entities(rows, "event_timestamp").equals(ROWS.cast(read_entities(ROWS, "event_timestamp").schema))


def test_defaults_leave_nothing_out() -> None:
    """Known-at, current snapshots, everything that was created."""
    request = requested(ROWS, {"stock": ["on_hand"]}, name="shelves")

    assert (request.semantics, request.as_of, request.snapshots, request.engine) == ("known_at", None, {}, None)


def test_a_group_is_its_only_version_or_its_table() -> None:
    """Two versions must be told apart."""
    assert resolved("s", ["stock", "price_v2"], TABLES) == {"stock": "stock_v1", "price_v2": "price_v2"}
    with pytest.raises(TrainingSetError, match="group 'price' has versions price_v1, price_v2; name the one you want"):
        resolved("s", ["price"], TABLES)


def test_fails_with_every_problem_of_the_request() -> None:
    """At once."""
    with pytest.raises(TrainingSetError, match=r"name must match .*, got 'a b'; semantics must be one of"):
        requested(ROWS, {}, name="a b", semantics="x")  # type: ignore[arg-type]


def test_fails_for_rows_that_say_a_thing_twice_or_not_at_all() -> None:
    """Columns of one name, and times that are null."""
    twice = pa.Table.from_arrays([*ROWS.columns, ROWS.columns[0]], [*ROWS.column_names, "store_id"])
    with pytest.raises(TrainingSetError, match="column 'store_id' appears 2 times; give it once"):
        read_entities(twice, "event_timestamp")
    nulls = ROWS.set_column(1, "event_timestamp", pa.nulls(1, pa.timestamp("us", "UTC")))
    with pytest.raises(TrainingSetError, match="1 entity rows have no 'event_timestamp'; leave them out"):
        read_entities(nulls, "event_timestamp")
