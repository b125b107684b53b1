"""The newest value of each entity: what an online store would answer."""

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.features.batch import ArrowStream, check_group, read_batch
from mlops_runtime.features.group import CREATED_TIME, EVENT_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.iceberg import TableMeaning, read_group
from mlops_runtime.features.planner import ROW_ID, GroupRows, point_in_time
from mlops_runtime.features.request import Load

_NOW = "__now__"


def latest(load: Load, group: FeatureGroup, entities: ArrowStream | None, *, now: datetime) -> pa.Table:
    """Return the newest row of each entity that is visible now and within the time to live that its table says.

    Args:
        load: Loads a table by name.
        group: The group.
        entities: Keys to look up, in the answer's order. ``None``: all that have a row.
        now: The time.

    Raises:
        BatchError: If the group is none, or the keys are no table or frame.
        PlanError: If a key is missing, null or of another type.
    """
    check_group(group)
    table = load(group.table_name)
    # what the deployed table says, as for training sets; a declaration may be ahead of it
    meaning = TableMeaning.of(group.table_name, table.properties)
    ttl = meaning.ttl
    names = [column.name for column in group.columns]
    rows = read_group(table, group, created_by=now, event_by=now, since=None if ttl is None else now - ttl)
    keys = list(group.entity_names)
    asked = rows.group_by(keys).aggregate([]).sort_by([(name, "ascending") for name in keys])
    if entities is not None:
        given = read_batch(entities)
        asked = given.select([name for name in keys if name in given.column_names])
    found = point_in_time(
        asked.append_column(_NOW, pa.array([now] * asked.num_rows, pa.timestamp("us", "UTC"))),
        _NOW,
        [
            GroupRows(
                name=group.name,
                entities=group.entity_names,
                columns=(EVENT_TIME, CREATED_TIME, INGEST_ID, *group.feature_names),
                ttl=ttl,
                rows=rows,
                ttl_inclusive=meaning.ttl_bound == "inclusive",
            )
        ],
    ).drop_columns([_NOW, ROW_ID])
    if entities is None:
        found = found.filter(pc.is_valid(found[EVENT_TIME]))
    return found.select(names)
