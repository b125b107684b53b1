"""Write a file's rows to a feature store, each once.

A file has the time of each row, but not when it became known. Both times are set to the row's, so that a training set finds each
row's features at its own time. Rows that the store already has are skipped. Rows whose values differ from the stored ones become
known when they are written.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, FeatureGroup
from mlops_runtime.training_data.file_split import file_rows
from mlops_runtime.training_data.table_file import TableError, quoted
from mlops_runtime.training_data.table_schema import TableSchema

if TYPE_CHECKING:
    from mlops_runtime.features.store_client import FeatureStoreClient


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenRows:
    """Result of writing a file's rows to one table."""

    table: str
    rows: int  # number of rows written
    restated: int  # number of them that replace stored values


def write_rows(
    client: "FeatureStoreClient", path: Path, schema: TableSchema, groups: Sequence[FeatureGroup]
) -> tuple[WrittenRows, ...]:
    """Write the rows of a file to the tables of groups, as known at their own times.

    Args:
        client: The store.
        path: A Parquet or CSV file with the columns of the schema.
        schema: The schema recorded for the first file.
        groups: The groups, whose columns are columns of the file.

    Raises:
        TableError: If the file lacks columns.
        BatchError: If its rows do not fit a group; earlier groups are written, and the next call continues.
    """
    rows = file_rows(path, schema)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    rows = rows.append_column(EVENT_TIME, rows[schema.time])
    written = []
    for group in groups:
        missing = [each for each in (*group.entity_names, *group.feature_names) if each not in rows.column_names]
        needed = {feature.name for feature in group.features if not feature.nullable} | {*group.entity_names}
        if lacking := [each for each in missing if each in needed]:
            raise TableError(
                [f"the group {group.name} needs {', '.join(map(repr, lacking))}, which the schema does not have"]
            )
        columns = [each for each in (*group.entity_names, EVENT_TIME, *group.feature_names) if each not in missing]
        new, restated, state = _new_rows(client, group, rows.select(columns))
        if new.num_rows:
            client.backfill(group, new, idempotency_key=f"file/{state}/{digest}")
        written.append(WrittenRows(table=group.table_name, rows=new.num_rows, restated=restated))
    return tuple(written)


def _new_rows(client: "FeatureStoreClient", group: FeatureGroup, rows: Any) -> tuple[Any, int, int]:
    """Return the rows that are new to a table or differ, the number of the latter, and the table's snapshot."""
    import duckdb  # noqa: PLC0415 - an extra
    import pyarrow as pa  # noqa: PLC0415 - an extra
    import pyarrow.compute as pc  # noqa: PLC0415 - an extra

    from mlops_runtime.features.source import read_group  # noqa: PLC0415 - an extra

    keys = [*group.entity_names, EVENT_TIME]
    table = client.table(group.table_name) if group.table_name in client.table_names() else None
    snapshot = None if table is None else table.current_snapshot()
    if table is None or snapshot is None or not rows.num_rows:
        return rows.append_column(CREATED_TIME, rows[EVENT_TIME]), 0, 0
    first, last = (each(rows[EVENT_TIME]).as_py() for each in (pc.min, pc.max))
    stored = read_group(table, group, since=first, event_by=last)
    features = [name for name in rows.column_names if name not in keys]
    given, names = ", ".join(f"r.{quoted(each)}" for each in rows.column_names), ", ".join(map(quoted, keys))
    differs = " OR ".join(f"r.{quoted(each)} IS DISTINCT FROM n.{quoted(each)}" for each in features)
    query = (
        f"WITH newest AS (SELECT * FROM stored QUALIFY row_number() OVER (PARTITION BY {names} "  # noqa: S608 - quoted
        f"ORDER BY {CREATED_TIME} DESC, ingest_id DESC) = 1) "
        f"SELECT {given}, coalesce(n.{CREATED_TIME}, r.{EVENT_TIME}) AS {CREATED_TIME}, n.{CREATED_TIME} IS NOT NULL AS restates "
        f"FROM given r LEFT JOIN newest n USING ({names}) WHERE n.{CREATED_TIME} IS NULL OR {differs}"
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("stored", stored)
        connection.register("given", rows)
        found = connection.sql(query).to_arrow_table()
    restated = int(pc.sum(found["restates"].cast(pa.int64())).as_py() or 0)
    return found.drop_columns(["restates"]), restated, snapshot.snapshot_id
