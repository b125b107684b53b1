"""One list of features for training and serving, on a local folder: published by the ingest, read by key."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from examples.pages.feature_groups import PRICE, STOCK
from mlops_constructs import FeatureService
from mlops_runtime.features.online_store import ServedFeatures
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.training_set import TrainingSet

# [start:declare]
SHELF = replace(STOCK, online=True)  # or online=True in its declaration
PRICES = replace(PRICE, online=True, tags=("pricing",))
SHELVES = FeatureService(name="shelves", features=(SHELF, PRICES), columns={"stock": ["on_hand"]}, version=1)
# [end:declare]


def serve(folder: Path, now: datetime) -> tuple[TrainingSet, ServedFeatures]:
    """Ingest, train and serve with the same features."""
    # [start:serve]
    store = FeatureStoreClient.local(folder, now=lambda: now)
    store.ingest(SHELF, pa.table({"store_id": ["7"], "event_time": [now], "on_hand": [12]}))
    store.ingest(PRICES, pa.table({"store_id": ["7"], "week": [31], "event_time": [now], "list_price": [2.5]}))

    entities = pa.table({"store_id": ["7", "8"], "week": [31, 31]})
    trained = store.training_set(entities.append_column("event_timestamp", [[now, now]]), SHELVES, name="shelves")
    served = store.read_online(SHELVES, entities)
    # [end:serve]
    return trained, served
