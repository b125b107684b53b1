"""Checks of a batch: what is taken as it is, what is turned without changing a value, and what is refused."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest

from mlops_runtime.features.batch import BatchError, checked
from mlops_runtime.features.group import Entity, Feature, FeatureGroup

NOW = datetime(2017, 8, 1, tzinfo=UTC)
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(
        Feature("on_hand", "long", "units on hand"),
        Feature("price", "double", "dollars", nullable=True),
        Feature("open", "boolean", "whether the store is open", nullable=True),
        Feature("day", "date", "the day", nullable=True),
    ),
    owner="demand",
    description="stock by store",
)
GOOD = {
    "store_id": ["1", "2"],
    "event_time": [NOW, NOW],
    "created_time": [NOW, NOW],
    "on_hand": [7, 8],
    "price": [1.5, None],
    "open": [True, None],
    "day": pa.array([NOW.date(), None]),
}


def without(*names: str) -> dict:
    """Return the good batch without some columns."""
    return {name: values for name, values in GOOD.items() if name not in names}


def test_good_batch_gets_the_groups_types_and_order():
    """Columns come in the order of the group, times in microseconds of UTC."""
    rows = checked(STOCK, pa.table(dict(reversed(GOOD.items()))), NOW)
    assert rows.schema.names == ["store_id", "event_time", "created_time", "on_hand", "price", "open", "day"]
    assert rows.schema.field("event_time").type == pa.timestamp("us", "UTC")
    assert rows.to_pylist()[0]["price"] == 1.5


def test_created_time_is_now_when_left_out():
    """Rows without a created time became known at the ingest."""
    assert checked(STOCK, pa.table(without("created_time")), NOW)["created_time"].to_pylist() == [NOW, NOW]


def test_lossless_types_are_taken():
    """Narrow integers, whole numbers for floats, dictionaries, large strings and other time units keep their values."""
    batch = {
        **GOOD,
        "store_id": pa.array(["1", "2"]).dictionary_encode(),
        "on_hand": pa.array([7, 8], pa.int16()),
        "price": pa.array([1, 2]),
        "event_time": pa.array([NOW, NOW], pa.timestamp("s", "America/New_York")),
    }
    assert checked(STOCK, pa.table(batch), NOW).select(["store_id", "on_hand", "price", "event_time"]).to_pylist()[
        0
    ] == {
        "store_id": "1",
        "on_hand": 7,
        "price": 1.0,
        "event_time": NOW,
    }


def test_pandas_frame_with_nan():
    """A frame is taken as it is; NaN is a missing value."""
    frame = pd.DataFrame({**without("day"), "price": [1.5, float("nan")], "day": [None, None]})
    assert checked(STOCK, frame, NOW)["price"].to_pylist() == [1.5, None]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (without("price"), "column 'price' is missing"),
        ({**GOOD, "colour": ["r", "g"]}, "column 'colour' is not declared, allowed are store_id, event_time"),
        ({**GOOD, "ingest_id": ["a", "b"]}, "column 'ingest_id' is given by the store; leave it out"),
        ({**GOOD, "on_hand": [1.0, 2.0]}, "column 'on_hand' must be int64: got double"),
        ({**GOOD, "on_hand": ["1", "2"]}, "column 'on_hand' must be int64: got string"),
        ({**GOOD, "store_id": [1, 2]}, "column 'store_id' must be string: got int64"),
        ({**GOOD, "open": [1, 0]}, "column 'open' must be bool: got int64"),
        ({**GOOD, "price": [True, False]}, "column 'price' must be double: got bool"),
        ({**GOOD, "day": [1, 2]}, "column 'day' must be date32[day]: got int64"),
        ({**GOOD, "event_time": [NOW.replace(tzinfo=None)] * 2}, "without a time zone; say which, for example UTC"),
        ({**GOOD, "event_time": [1, 2]}, "column 'event_time' must be timestamp[us, tz=UTC]: got int64"),
        ({**GOOD, "store_id": ["1", None]}, "column 'store_id' is required and has no value in 1 rows"),
        ({**GOOD, "on_hand": [None, 1]}, "column 'on_hand' is required and has no value in 1 rows"),
        ({**GOOD, "created_time": [NOW, NOW + timedelta(seconds=1)]}, "created_time is later than now"),
        ({**GOOD, "store_id": ["1", "1"]}, "1 rows repeat store_id, event_time, created_time of another"),
        ({name: pa.array([], pa.table(GOOD)[name].type) for name in GOOD}, "it has no rows"),
    ],
)
def test_fails_when_the_batch_does_not_fit(batch, message):
    """Each misfit is named with the column and what was got."""
    with pytest.raises(BatchError) as error:
        checked(STOCK, pa.table(batch), NOW)
    assert message in str(error.value)
    assert str(error.value).startswith("batch for stock_v1: ")


def test_fails_with_every_problem_at_once():
    """All problems of a batch are reported together."""
    with pytest.raises(BatchError, match=r"'price' is missing.*'colour' is not declared.*'on_hand' must be int64"):
        checked(STOCK, pa.table({**without("price"), "colour": [1, 2], "on_hand": ["a", "b"]}), NOW)


def test_fails_without_a_table():
    """A list is no batch."""
    with pytest.raises(BatchError, match="a pyarrow table, pandas or polars frame is needed, got <class 'list'>"):
        checked(STOCK, [1], NOW)  # type: ignore[arg-type]
