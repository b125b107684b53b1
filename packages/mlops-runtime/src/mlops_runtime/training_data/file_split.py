"""Split a file into training split and holdout according to a recorded schema, also for later files with the same columns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from mlops_runtime.training_data.table_file import (
    TIME_KINDS,
    TableError,
    TableFile,
    as_time,
    first_of_holdout,
    open_table,
    quoted,
    usable_rows,
)
from mlops_runtime.training_data.table_schema import DAY, WEEK, InputColumn, TableSchema

_KINDS = {"number": ("integer", "float", "boolean"), "category": ("text", "integer")}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSplit:
    """Two splits of a file."""

    train: Any  # the training split, an Arrow table
    holdout: Any
    dropped: int  # rows without label or time, which are in neither


def split_file(path: Path, schema: TableSchema, *, holdout_from: str | None = None) -> FileSplit:
    """Split a file by time.

    Args:
        path: A Parquet or CSV file with the columns of the schema.
        schema: The schema recorded for the first file.
        holdout_from: The first time of the holdout, ISO 8601. Default: the schema's, else by share of rows.

    Raises:
        TableError: With every column that is missing or of another type, or if no split is possible.
    """
    with open_table(path) as table:
        _check_columns(table, schema)
        usable = usable_rows(table, schema.label, schema.time)
        at = as_time(table.columns[schema.time])
        cut = first_of_holdout(table, schema.time, usable, holdout_from or schema.holdout_from)
        columns = _expressions(table, schema)
        train = table.table(columns, f"{usable} AND {at} < TIMESTAMP '{cut}'")
        holdout = table.table(columns, f"{usable} AND {at} >= TIMESTAMP '{cut}'")
        whole = int(table.values(["count(*)"])[0])
    for column in schema.inputs:
        if column.type == "category" and column.kind == "integer":
            train, holdout = (_encoded(split, column.name) for split in (train, holdout))
    if schema.label_kind == "classes":
        _check_classes(train, holdout, schema.label)
    return FileSplit(train=train, holdout=holdout, dropped=whole - train.num_rows - holdout.num_rows)


def file_rows(path: Path, schema: TableSchema) -> Any:
    """Return the rows of a file that have a label and a time, with the columns of a training set, as an Arrow table.

    Args:
        path: A Parquet or CSV file with the columns of the schema.
        schema: The schema recorded for the first file.

    Raises:
        TableError: With every column that is missing or of another type.
    """
    with open_table(path) as table:
        _check_columns(table, schema)
        return table.table(_expressions(table, schema), usable_rows(table, schema.label, schema.time))


def _check_columns(table: TableFile, schema: TableSchema) -> None:
    problems = [problem for name in schema.kept if (problem := _problem(table, schema, name)) is not None]
    if problems:
        raise TableError(problems)


def _problem(table: TableFile, schema: TableSchema, name: str) -> str | None:
    if name not in table.columns:
        return f"the column {name!r} is missing; the file has {', '.join(table.columns)}"
    column = next((column for column in schema.inputs if column.name == name), None)
    found = table.columns[name]
    if column is not None and found.kind not in _KINDS[column.type]:
        return f"column {name!r} must be a {column.type}, got {found.sql}"
    if name == schema.time and found.kind not in TIME_KINDS:
        return f"column {name!r} must have times, dates or integers that count them, got {found.sql}"
    if name == schema.label and (found.kind == "text") != (schema.label_kind == "classes"):
        return f"label {name!r} must be {'text' if schema.label_kind == 'classes' else 'numbers'}, got {found.sql}"
    return None


def _expressions(table: TableFile, schema: TableSchema) -> list[str]:
    inputs = {column.name: column for column in schema.inputs}
    chosen = [f"{_expression(table, inputs.get(name), schema, name)} AS {quoted(name)}" for name in schema.kept]
    for name, unit in ((WEEK, "week"), (DAY, "day")):
        if name in (schema.block, schema.cluster):
            chosen.append(
                f"strftime(date_trunc('{unit}', {as_time(table.columns[schema.time])}), '%Y-%m-%d') AS {quoted(name)}"
            )
    return chosen


def _expression(table: TableFile, column: InputColumn | None, schema: TableSchema, name: str) -> str:
    if name == schema.time:
        return f"{as_time(table.columns[name])}::TIMESTAMPTZ"
    if name == schema.label:
        return quoted(name) if schema.label_kind == "classes" else f"CAST({quoted(name)} AS DOUBLE)"
    if column is None or column.type == "category":
        kind = column.kind if column is not None else schema.key_kind if name == schema.key else "text"
        text = f"CAST({quoted(name)} AS VARCHAR)"
        return f"nullif({text}, '')" if kind == "text" else f"CAST({quoted(name)} AS BIGINT)"
    if column.kind == "integer" and table.columns[name].kind == "integer":
        return f"CAST({quoted(name)} AS BIGINT)"
    if column.kind == "boolean" and not column.nullable and table.columns[name].kind == "boolean":
        return quoted(name)
    number = f"CAST({quoted(name)} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def _encoded(split: Any, name: str) -> Any:
    place = split.column_names.index(name)
    return split.set_column(place, name, split[name].dictionary_encode())


def _check_classes(train: Any, holdout: Any, label: str) -> None:
    trained, held = (set(pc.unique(split[label]).to_pylist()) for split in (train, holdout))
    problems = [
        f"{', '.join(map(repr, sorted(names)))} has no rows in the {where}"
        for names, where in ((trained - held, "holdout"), (held - trained, "training part"))
        if names
    ]
    if problems:
        raise TableError(
            [f"label {label!r}: {' and '.join(problems)}; choose another --holdout-from, or remove the class"]
        )
