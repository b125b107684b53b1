"""Rows of ingests, from a real table's snapshots."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from mlops_runtime.contracts.events import EventDetail
from mlops_runtime.features import ingest_ledger
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.retraining.ingests import KEY_HASH, rows_of

NOW = datetime(2017, 1, 20, tzinfo=UTC)
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand"),),
    owner="demand",
    description="stock",
)


def _rows(count: int, day: int) -> pa.Table:
    return pa.table(
        {
            "store_id": [str(number) for number in range(count)],
            "event_time": [NOW - timedelta(days=day)] * count,
            "on_hand": pa.array(range(count), pa.int64()),
        }
    )


def test_each_ingest_is_found_by_the_id_of_its_event(tmp_path: Path) -> None:
    """Also after later ingests and for repeated events; an unknown id is not found."""
    told = list[EventDetail]()
    store = FeatureStoreClient.local(tmp_path, now=lambda: NOW, announce=told.append)
    for key, count in (("a", 3), ("b", 5), ("a", 3)):
        store.ingest(STOCK, _rows(count, day=count), idempotency_key=key)
    table = store.table("stock_v1")
    metadata = json.loads(Path(table.metadata_location.removeprefix("file://")).read_text())

    assert [rows_of(metadata, detail.id) for detail in told] == [3, 5, 3]
    assert [detail.attributes["rows"] for detail in told] == ["3", "5", "3"]
    assert rows_of(metadata, "0" * 32) is None
    assert rows_of({}, told[0].id) is None


def test_the_key_is_the_ledgers() -> None:
    """Defined twice, because the guard has no pyiceberg."""
    assert KEY_HASH == ingest_ledger.KEY_HASH
