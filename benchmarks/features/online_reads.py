"""``python -m benchmarks.features.online_reads [reads]``: one online read of three groups of ten doubles, and its peers.

Wall and CPU milliseconds of the client per read, p50 and p99 of both: ``OnlineStore.read`` for one entity and for
thirty, against DynamoDB of the embedded cloud and against the file of a laptop. For comparison boto3 alone: one
BatchGetItem (the floor), one BatchGetItem per group in sequence (the calls of Feast's DynamoDB store, one per feature
view), and one GetItem per group in sequence. The boto3 cases do not decode values. Cases alternate with every read, so
that all see the same load.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks.measure import load

from mlops_local.cloud import up
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.feature_service import FeatureService
from mlops_runtime.features.online_items import KEY, whole_key
from mlops_runtime.features.online_store import OnlineStore

KEYS, FEATURES, MANY, TABLE = 1_000, 10, 30, "online"
NOW = datetime(2020, 1, 1, tzinfo=UTC)
GROUPS = tuple(
    FeatureGroup(
        name=f"g{number}",
        entities=(Entity("customer_id", "long", "customer"),),
        features=tuple(Feature(f"f{i}", "double", "a number") for i in range(FEATURES)),
        owner="benchmarks",
        description="online reads",
    )
    for number in range(3)
)
SERVICE = FeatureService(name="reads", features=GROUPS)


def rows(seed: int) -> pa.Table:
    """Return a row per customer."""
    random = np.random.default_rng(seed)
    times = pa.array([NOW] * KEYS, pa.timestamp("us", "UTC"))
    keys = {"customer_id": range(KEYS), "event_time": times, "created_time": times, "ingest_id": ["0"] * KEYS}
    return pa.table(keys | {f"f{i}": random.random(KEYS) for i in range(FEATURES)})


def read(online: OnlineStore, count: int) -> Callable[[int], object]:
    """Return a read of some customers, starting at a number."""

    def call(first: int) -> object:
        customers = [(first + each) % KEYS for each in range(count)]
        found = online.read(SERVICE, pa.table({"customer_id": customers}), now=NOW)
        assert not found.missing
        return found

    return call


def keys(groups: tuple[FeatureGroup, ...], customer: int) -> list[dict[str, Any]]:
    """Return the keys of a customer in some groups."""
    return [{KEY: {"S": whole_key(group.table_name, [customer])}} for group in groups]


def main(reads: int) -> None:
    """Print a row per case."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = up(Path(folder) / "cloud")
        try:
            client = cloud.client("dynamodb")
            client.create_table(
                TableName=TABLE,
                AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
            stores = {"DynamoDB": OnlineStore(client, table=TABLE), "file": OnlineStore.local(f"{folder}/online.db")}
            for online in stores.values():
                for seed, group in enumerate(GROUPS):
                    online.publish(group, rows(seed), now=NOW)

            def batch(groups: tuple[FeatureGroup, ...], customer: int) -> object:
                return client.batch_get_item(RequestItems={TABLE: {"Keys": keys(groups, customer)}})

            cases: dict[str, Callable[[int], object]] = {
                "read, 1 entity, DynamoDB": read(stores["DynamoDB"], 1),
                "boto3, one BatchGetItem": lambda n: batch(GROUPS, n),
                "boto3, a BatchGetItem a group in turn": lambda n: [batch((group,), n) for group in GROUPS],
                "boto3, a GetItem a group in turn": lambda n: [
                    client.get_item(TableName=TABLE, Key=key) for key in keys(GROUPS, n)
                ],
                f"read, {MANY} entities, DynamoDB": read(stores["DynamoDB"], MANY),
                "read, 1 entity, file": read(stores["file"], 1),
                f"read, {MANY} entities, file": read(stores["file"], MANY),
            }
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
            for number in range(reads):
                for name, call in cases.items():
                    wall, cpu = time.perf_counter(), time.thread_time()
                    call(number % KEYS)
                    taken[name].append((time.perf_counter() - wall, time.thread_time() - cpu))
        finally:
            cloud.down()
    print(f"{reads} reads each, {load()}\n\n| case | ms p50 | p99 | CPU ms p50 | p99 |\n|---|---|---|---|---|")
    for name, pairs in taken.items():
        figures = [sorted(each)[int(reads * share)] for each in zip(*pairs, strict=True) for share in (0.5, 0.99)]
        print(f"| {name} | {' | '.join(f'{1e3 * each:.1f}' for each in figures)} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
