"""Clients of a deployed feature store: by its unit's parameter, with its online table, and with another query engine."""

from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from examples.pages.feature_groups import PRICE, STOCK
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.unit_entries import FeatureStoreEntry
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.training_set_sql import SqlTable

if TYPE_CHECKING:
    from boto3.session import Session


def reach(session: "Session") -> tuple[FeatureStoreEntry, FeatureStoreClient]:
    """Find the store of unit ``demand``."""
    # [start:glue]
    # published by FeatureStore: database demand_features and its buckets
    parameter = session.client("ssm").get_parameter(Name="/mlops/demand/features")["Parameter"]
    entry = from_json(FeatureStoreEntry, parameter["Value"])
    store = FeatureStoreClient.glue(
        database=entry.database,
        manifests=f"s3://{entry.manifests_bucket}/manifests",
        training_sets=f"s3://{entry.training_sets_bucket}",
        s3=session.client("s3"),
    )
    # [end:glue]
    return entry, store


def explain(store: FeatureStoreClient, entities: pa.Table) -> tuple[str, str]:
    """Explain the build of a training set, and return its SQL statement."""
    # [start:explain]
    explanation = store.explain(entities, [STOCK, PRICE], timestamp="event_timestamp")
    why = explanation.engine.reason  # the engine, and the data it would read
    # your rows with a row_id, as an Iceberg table; snapshot_id is the snapshot with these rows
    rows = SqlTable(database="scratch", table="entities", snapshot_id=5310972174113047382)
    statement = explanation.sql("athena", rows)
    # [end:explain]
    return why, statement


def query(store: FeatureStoreClient) -> list[tuple[str, int]]:
    """Query the newest row of each store with DuckDB, through pyiceberg's reader."""
    # [start:query]
    rows = store.table("stock_v1").scan(
        selected_fields=("store_id", "event_time", "created_time", "ingest_id", "on_hand")
    )
    newest = """
        select store_id, arg_max(on_hand, (event_time, created_time, ingest_id)) from stock group by store_id order by store_id
    """
    found = rows.to_duckdb("stock").sql(newest).fetchall()
    # [end:query]
    return found


def serve(session: "Session", table: str, store: FeatureStoreClient, now: datetime) -> tuple[int, pa.Table]:
    """Publish the newest rows, as after an ingest, and read one like a service."""
    # [start:online]
    online = OnlineStore(session.client("dynamodb"), table=table)  # entry.online_table
    published = online.refresh(STOCK, store, now=now)
    served = online.get(STOCK, pa.table({"store_id": ["7"]}), now=now)
    # [end:online]
    return published.written, served
