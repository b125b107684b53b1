"""A feature store in a folder, as users of the command have one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient

START = datetime(2017, 1, 1, tzinfo=UTC)
STORE = Entity("store_id", "string", "store")
STOCK = FeatureGroup(
    name="stock",
    entities=(STORE,),
    features=(Feature("on_hand", "long", "units [on hand]", minimum=0), Feature("shelf", "string", "shelf")),
    owner="demand",
    description="What lies on the shelves",
    freshness=timedelta(days=2),
)
PRICE = FeatureGroup(
    name="price",
    entities=(STORE,),
    features=(Feature("list_price", "double", "dollars"),),
    owner="pricing",
    description="Prices",
)
GROUPS = (STOCK, PRICE)


def day(number: float) -> datetime:
    """Return a time in days since the start."""
    return START + timedelta(days=number)


def stock(*numbers: int, store: str = "1") -> pa.Table:
    """Return a batch of stock with one row per day, known immediately."""
    times = [day(number) for number in numbers]
    columns = {"store_id": [store] * len(numbers), "event_time": times, "created_time": times}
    return pa.table({**columns, "on_hand": numbers, "shelf": ["a"] * len(numbers)})


class FeatureShop:
    """The store's folder, its client, entity rows in a file, and a training set ``shelves`` of two rows."""

    def __init__(self, path: Path) -> None:
        self.path, self.client = path, FeatureStoreClient.local(path, now=lambda: day(20))
        self.first = self.client.ingest(STOCK, stock(*range(10)))
        self.client.ingest(STOCK, stock(3, 4, store="2"))
        times = [day(number) for number in range(10)]
        prices = {"store_id": ["1"] * 10, "event_time": times, "created_time": times, "list_price": [2.5] * 10}
        self.client.ingest(PRICE, pa.table(prices))
        self.rows = pa.table({"store_id": ["1", "2"], "event_timestamp": [day(5), day(6)]})
        self.entities = path.with_name("rows.parquet")
        pq.write_table(self.rows, self.entities)
        self.built = self.client.training_set(self.rows, {"stock": ["on_hand"]}, name="shelves")
