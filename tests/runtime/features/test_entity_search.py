"""Finding an entity's rows: keys compare by type, in tables and files."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_runtime.features.entity_search import ErasureError, read, spelt

KEYS = {
    "string": ("a", "b"),
    "int": (1, -2),
    "long": (1, -(2**40)),
    "date": (date(2017, 1, 1), date(2017, 1, 2)),
    "timestamp": (datetime(2017, 1, 1, tzinfo=UTC), datetime(2017, 1, 2, microsecond=1, tzinfo=UTC)),
}
ARROW = {"int": pa.int32(), "timestamp": pa.timestamp("us", "UTC")}
ODD = ["z", True, 2.0, 2**70, None, date(2000, 1, 1), datetime(2000, 1, 1), datetime(2000, 1, 1, tzinfo=UTC), 7]


@pytest.mark.parametrize("give", [lambda key: key, str], ids=["value", "text"])
@pytest.mark.parametrize("kind", KEYS)
def test_keys_compare_by_their_type(shop, kind, give):
    """Rejects values of another type instead of applying a time zone or cast."""
    group = replace(shop.STOCK, name="typed", entities=(replace(shop.STOCK.entities[0], type=kind),))
    times = shop.stock((1, 1, 1), (2, 2, 2))
    shop.client.ingest(group, times.set_column(0, "store_id", pa.array(KEYS[kind])))
    entities = pa.table({"store_id": pa.array(KEYS[kind], ARROW.get(kind)), "event_timestamp": [shop.day(3)] * 2})
    built = shop.client.training_set(entities, [group], name="typed")

    fitting = {"string": ["z"], "int": [7], "long": [7], "date": [ODD[5]], "timestamp": [ODD[7]]}[kind]
    for value in ODD:
        if value in fitting and type(value) is type(fitting[0]):
            assert shop.client.erase({"store_id": value}, reason="t", in_use=()).tables == ()
        else:
            with pytest.raises(ErasureError, match=f"'store_id' of typed_v1 is {kind}, got "):
                shop.client.erase({"store_id": value}, reason="t", in_use=())
    gone = KEYS[kind][1]
    assert shop.client.erase({"store_id": give(gone)}, reason="t", in_use=()).used_by == (built.id,)

    assert shop.client.table("typed_v1").scan().to_arrow()["store_id"].to_pylist() == [KEYS[kind][0]]
    assert list(shop.path.rglob("sets/typed/**/*.parquet")) == []


@pytest.mark.parametrize("value", ["7", "a:b", 7, date(1969, 1, 2), datetime(2017, 1, 1, microsecond=1, tzinfo=UTC)])
def test_an_entity_keeps_its_types_when_it_is_written_down(value):
    """A number differs from its text: a resumed erasure does not touch a table of strings."""
    again = read(spelt({"store_id": value}))
    assert (again, type(again["store_id"])) == ({"store_id": value}, type(value))


def test_values_of_numpy_and_pandas_keep_their_types():
    """They are stored as the Python types from which they derive, which a resumed call reads."""
    time = datetime(2017, 1, 1, tzinfo=UTC)
    again = read(spelt({"store_id": np.str_("7"), "at": pd.Timestamp(time)}))
    assert again == {"store_id": "7", "at": time}
    assert [type(value) for value in again.values()] == [str, datetime]
