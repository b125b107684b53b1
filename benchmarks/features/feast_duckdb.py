# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["feast[duckdb]==0.67.0"]
# ///
"""``feast_duckdb.py FOLDER OUTPUT known_at|event_time``: the training set by Feast on DuckDB, from Parquet to Parquet.

``known_at`` turns on ``filter_by_created_timestamp``; without it, its default, Feast uses values that had not arrived yet.
"""

import json
import resource
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64

before = resource.getrusage(resource.RUSAGE_SELF)  # imports are not counted for any tool
TABLES, VALUES, TTL_DAYS = 3, 3, 30
folder, output, semantics = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
repo = Path(tempfile.mkdtemp())
store = FeatureStore(
    config=RepoConfig(
        project="bench",
        provider="local",
        registry=str(repo / "registry.db"),
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
    )
)
user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
views = [
    FeatureView(
        name=f"view{k}",
        entities=[user],
        ttl=timedelta(days=TTL_DAYS),
        schema=[Field(name=f"f{k}_{i}", dtype=Float64) for i in range(VALUES)],
        source=FileSource(
            path=str(folder / f"feature{k}.parquet"),
            timestamp_field="event_time",
            created_timestamp_column="created_time",
        ),
    )
    for k in range(TABLES)
]
store.apply([user, *views])
entities = pd.read_parquet(folder / "entity.parquet")
names = [f"view{k}:f{k}_{i}" for k in range(TABLES) for i in range(VALUES)]
cut = {"filter_by_created_timestamp": True} if semantics == "known_at" else {}
table = store.get_historical_features(entity_df=entities, features=names, **cut).to_arrow()
pq.write_table(table, output)
used = resource.getrusage(resource.RUSAGE_SELF)
# getrusage would include the parent's memory at the start of this process
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"cpu": cpu, "rss": peak, "rows": table.num_rows}))
