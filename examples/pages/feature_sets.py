"""A feature store on the local machine, as used in a notebook."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from examples.pages.feature_groups import PRICE, STOCK
from mlops_runtime.contracts.features import Erasure
from mlops_runtime.features.batch_ingest import Ingested
from mlops_runtime.features.group_join import GroupJoin
from mlops_runtime.features.rebuild import Rebuild
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.training_set import TrainingSet
from mlops_runtime.features.training_set_difference import Difference
from mlops_runtime.features.training_set_usage import Use

MONDAY = datetime(2017, 1, 2, 8, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Results, in the order of the page."""

    ingests: tuple[Ingested, Ingested]
    seen: TrainingSet
    proof: Rebuild
    restated: TrainingSet
    difference: Difference
    used: tuple[Use, ...]
    latest: pa.Table
    near: TrainingSet
    erased: Erasure


def build(folder: Path) -> Story:
    """Ingest, correct, build, verify, compare, search, read and erase, in a folder."""
    # [start:ingest]
    store = FeatureStoreClient.local(folder)
    counted = pa.table(
        {"store_id": ["7", "8"], "event_time": [MONDAY, MONDAY], "on_hand": [40, 12], "shelf": ["front", None]}
    )
    first = store.ingest(STOCK, counted, idempotency_key="stock-2017-01-02")
    again = store.ingest(STOCK, counted, idempotency_key="stock-2017-01-02")
    # [end:ingest]
    # [start:backfill]
    known = pa.array([MONDAY + HOUR, MONDAY + DAY + HOUR])  # when each row could first be known
    history = pa.table(
        {
            "store_id": ["7", "7"],
            "event_time": [MONDAY, MONDAY + DAY],
            "created_time": known,
            "on_hand": [41, 35],
            "shelf": ["front", "front"],
        }
    )
    store.backfill(STOCK, history)
    announced = {"store_id": ["7"], "week": pa.array([3], pa.int32()), "event_time": [MONDAY], "created_time": [MONDAY]}
    store.backfill(PRICE, pa.table({**announced, "list_price": [2.49]}))
    # [end:backfill]
    # [start:training_set]
    entities = pa.table(
        {
            "store_id": ["7", "7"],
            "week": pa.array([3, 3], pa.int32()),
            "event_timestamp": [MONDAY + HOUR, MONDAY + 2 * DAY],
        }
    )
    built = store.training_set(entities, [STOCK, PRICE], name="shelves", source={"commit": "4c1f"})
    proof = store.rebuild(built.id)
    # [end:training_set]
    # [start:compare]
    recount = pa.table(
        {
            "store_id": ["7"],
            "event_time": [MONDAY + DAY],
            "created_time": [MONDAY + DAY + 2 * HOUR],
            "on_hand": [53],
            "shelf": ["front"],
        }
    )
    correction = store.correct(STOCK, recount)
    restated = store.training_set(entities, [STOCK, PRICE], name="shelves", source={"commit": "4c1f"})
    difference = store.diff(built.id, restated.id)
    used = store.who_used(STOCK, snapshot=correction.snapshot_id, column="on_hand")
    # [end:compare]
    latest = store.latest(PRICE)
    # [start:joins]
    people = pa.table(
        {"home_store": ["7", "8"], "work_store": ["8", "7"], "event_timestamp": [MONDAY + 2 * DAY, MONDAY + 2 * DAY]}
    )
    home = GroupJoin(group=STOCK, name="home", on={"store_id": "home_store"})
    work = GroupJoin(group=STOCK, name="work", on={"store_id": "work_store"}, columns=["on_hand"])
    near = store.training_set(people, [home, work], name="near")  # home__on_hand, home__shelf, work__on_hand
    # [end:joins]
    # [start:erase]
    erased = store.erase({"store_id": "7"}, reason="ticket 4711", in_use=[])
    # [end:erase]
    return Story(
        ingests=(first, again),
        seen=built,
        proof=proof,
        restated=restated,
        difference=difference,
        used=used,
        latest=latest,
        near=near,
        erased=erased,
    )
