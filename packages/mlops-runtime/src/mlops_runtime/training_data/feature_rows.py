"""A file's rows in a feature store: what of a schema it takes, its groups, and rows written once.

A file says when a row is of, and not when it became known: both times are that of the row, so that a training set finds each row's
features at its own time. Rows that the store has already are left out, and those that a file says otherwise count from then on.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, RESERVED, Entity, Feature, FeatureGroup
from mlops_runtime.training_data.file_split import file_rows
from mlops_runtime.training_data.table_file import (
    TableError,
    TableFile,
    as_time,
    first_of_holdout,
    open_table,
    quoted,
    usable_rows,
)
from mlops_runtime.training_data.table_schema import DAY, WEEK, InputColumn, TableSchema

if TYPE_CHECKING:
    from mlops_runtime.features.store_client import FeatureStoreClient

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TAKEN = (*RESERVED, "row_id", "split")  # columns of tables and training sets
_DAY = timedelta(days=1)
_TYPES = {"float": "double", "integer": "long", "boolean": "boolean", "text": "string"}
_ADDED = {WEEK: "week of the row, by which models are compared", DAY: "day of the row, one observation to monitors"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenRows:
    """What became of a file's rows in one table.

    Args:
        table: Name of the table.
        rows: Rows that were written.
        restated: How many of them the store said otherwise before.
    """

    table: str
    rows: int
    restated: int


def stored_schema(path: Path, schema: TableSchema, *, entities: Sequence[str] = ()) -> TableSchema:
    """Return a schema whose features are kept in a store; codes that are integers are text there.

    Args:
        path: The file.
        schema: What `read_schema` found in it.
        entities: Columns that beside the key tell rows of one time apart.

    Raises:
        TableError: With everything that a store does not take.
    """
    if schema.key is None:
        raise TableError(["--feature-store needs --key: the column whose values features are of, such as a store"])
    wanted = replace(
        schema,
        entities=tuple(dict.fromkeys((schema.key, *entities))),
        key_kind="text",
        inputs=tuple(replace(each, kind="text") if each.type == "category" else each for each in schema.inputs),
    )
    with open_table(path) as table:
        problems = [*_entity_problems(table, wanted), *_name_problems(wanted)]
        if not problems:
            problems = _row_problems(table, wanted)
        if problems:
            raise TableError(problems)
        return replace(wanted, holdout_days=_holdout_days(table, wanted))


def feature_groups(schema: TableSchema, *, name: str, owner: str) -> tuple[FeatureGroup, FeatureGroup]:
    """Return the group of the features and the group of the labels.

    Args:
        schema: A schema with entities.
        name: What the groups' names begin with.
        owner: Team that answers for them.
    """
    inputs = {column.name: column for column in schema.inputs}
    entities = tuple(
        Entity(each, "long" if each in inputs and inputs[each].type == "number" else "string", _said(inputs.get(each)))
        for each in schema.entities
    )
    features = [
        Feature(each.name, _TYPES[each.kind], _said(each), nullable=each.nullable)
        for each in (_typed(column) for column in schema.inputs)
        if each.name not in schema.entities
    ]
    features += [Feature(each, "string", _ADDED[each]) for each in _added(schema)]
    label = Feature(
        schema.label,
        "string" if schema.label_kind == "classes" else "double",
        f"what is predicted, {schema.label_kind}",
    )
    return (
        FeatureGroup(
            name=f"{name}_features",
            entities=entities,
            event_time="time of the row",
            features=tuple(features),
            owner=owner,
            description="What is known at the time of prediction",
        ),
        FeatureGroup(
            name=f"{name}_labels",
            entities=entities,
            event_time="time of the row: the file does not say when a label became known",
            features=(Feature(schema.time, "timestamp", "time of prediction"), label),
            owner=owner,
            description="What is to be predicted",
        ),
    )


def write_rows(
    client: "FeatureStoreClient", path: Path, schema: TableSchema, groups: Sequence[FeatureGroup]
) -> tuple[WrittenRows, ...]:
    """Write the rows of a file to the tables of groups, as known at their own times.

    Args:
        client: The store.
        path: A Parquet or CSV file with the columns of the schema.
        schema: What was recorded of the first file.
        groups: The groups, whose columns are columns of the file.

    Raises:
        TableError: If the file lacks columns.
        BatchError: If its rows do not fit a group; groups before it were written, and the next call goes on.
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
    """Return the rows that a table does not have as they are, how many it has otherwise, and its snapshot."""
    import duckdb  # noqa: PLC0415 - an extra
    import pyarrow as pa  # noqa: PLC0415 - an extra
    import pyarrow.compute as pc  # noqa: PLC0415 - an extra

    from mlops_runtime.features.iceberg_tables import read_group  # noqa: PLC0415 - an extra

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


def _entity_problems(table: TableFile, schema: TableSchema) -> list[str]:
    problems = []
    usable = usable_rows(table, schema.label, schema.time)
    for name in schema.entities:
        option = "--key" if name == schema.key else "--row-key"
        column = table.columns.get(name)
        if column is None:
            problems.append(f"--row-key must be a column of the file, got {name!r}; it has {', '.join(table.columns)}")
        elif name in (schema.label, schema.time):
            problems.append(f"--row-key must be neither label nor time, got {name!r}")
        elif column.kind not in ("text", "integer"):
            problems.append(f"{option} must hold text or integers, got {column.sql} in {name!r}")
        else:
            given = f"nullif(CAST({quoted(name)} AS VARCHAR), '')"
            absent = int(table.values([f"count(*) - count({given})"], usable)[0])
            if absent:
                problems.append(
                    f"--feature-store: {name!r} is null in {absent} rows, of which no feature can be kept; fill them"
                )
    return problems


def _name_problems(schema: TableSchema) -> list[str]:
    wrong = [name for name in schema.kept if not _NAME.fullmatch(name) or name in _TAKEN]
    if not wrong:
        return []
    renamed = ", ".join(f"{name!r} to {_renamed(name)!r}" for name in wrong)
    return [
        "--feature-store: columns of a feature store have lower-case letters, digits and _, begin with a letter, and are not "
        f"{', '.join(_TAKEN)}; rename in the file {renamed}, or leave --feature-store out"
    ]


def _renamed(name: str) -> str:
    """Return a name that a store takes.

    Example:
        >>> _renamed("Unit price (EUR)"), _renamed("2nd shelf"), _renamed("row_id")
        ('unit_price_eur', 'c_2nd_shelf', 'row_id_of_file')
    """
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:55]
    slug = slug if re.match("[a-z]", slug) else f"c_{slug}"
    return f"{slug}_of_file" if slug in _TAKEN else slug


def _row_problems(table: TableFile, schema: TableSchema) -> list[str]:
    """Return why an entity would have two values of a feature at one time, or none at all."""
    if all(column.name in schema.entities for column in schema.inputs):
        return ["--feature-store: no input is left beside the entities; leave --feature-store out"]
    usable, at = usable_rows(table, schema.label, schema.time), as_time(table.columns[schema.time])
    entities = [quoted(name) for name in schema.entities]

    def distinct(*names: str) -> int:
        query = f"SELECT count(*) FROM (SELECT DISTINCT {', '.join(names)} FROM rows WHERE {usable})"  # noqa: S608 - quoted
        return int(table.rows(query)[0][0])

    whole = distinct(*(quoted(name) for name in schema.kept))
    apart = distinct(*entities, at)
    if apart == whole:
        return []
    others = [
        name
        for name, column in table.columns.items()
        if column.kind in ("text", "integer") and name not in (*schema.entities, schema.label, schema.time)
    ]
    telling = next((name for name in others if distinct(*entities, quoted(name), at) == whole), None)
    fix = "name with --row-key the column that tells them apart" if telling is None else f"add --row-key {telling}"
    return [
        f"--feature-store: {whole} rows are of {apart} values of {', '.join(schema.entities)} and {schema.time}, and a feature has "
        f"one value of each at a time; {fix}, or leave --feature-store out"
    ]


def _holdout_days(table: TableFile, schema: TableSchema) -> int:
    """Return the whole days that hold at least what is held out of the file."""
    usable, at = usable_rows(table, schema.label, schema.time), as_time(table.columns[schema.time])
    cut = first_of_holdout(table, schema.time, usable, schema.holdout_from)
    last, span = table.values([f"max({at})", f"max({at}) - TIMESTAMP '{cut}'"], usable)
    days = max(int(-(-span // _DAY)), 1)
    before, early = (
        int(table.values([f"count(*) FILTER ({at} < TIMESTAMP '{each}')"], usable)[0])
        for each in (cut, last - days * _DAY)
    )
    if early * 2 < before:
        raise TableError(
            [
                f"--feature-store: a store holds out whole days, and the last {days} of them leave {early} of {before} rows to "
                "train on; add earlier rows, or leave --feature-store out"
            ]
        )
    return days


def _typed(column: InputColumn) -> InputColumn:
    """Return a column of the type that its values have: whether a boolean is there is a number."""
    is_number = column.type == "number" and column.kind == "boolean" and column.nullable
    return replace(column, kind="float") if is_number else column


def _added(schema: TableSchema) -> list[str]:
    return [name for name in _ADDED if name in (schema.block, schema.cluster)]


def _said(column: InputColumn | None) -> str:
    if column is None or column.type == "category":
        return "as in the file"
    return "yes or no" if column.kind == "boolean" else f"about {column.low:g} to {column.high:g}"
