"""Columns of an Arrow table as the model takes them: the same rules as for a request, without the text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.jobs.optml import JobError
from mlops_runtime.serving.model import Matrix


def read_split(directory: Path) -> Any:
    """Return all Parquet files of a directory as one table, in the order of their names.

    Raises:
        JobError: If there is none, they differ, or they hold no rows.
    """
    paths = sorted(directory.glob("*.parquet"))
    if not paths:
        raise JobError(f"{directory} must hold Parquet files, got none")
    try:
        table = pa.concat_tables([pq.read_table(path) for path in paths])
    except pa.ArrowException as error:
        raise JobError(f"cannot read {directory} as one table: {error}") from error
    if table.num_rows == 0:
        raise JobError(f"{directory} must hold at least one row, got none")
    return table


def require_columns(table: Any, names: Sequence[str], split: str) -> None:
    """Check that a split has columns.

    Raises:
        JobError: With every missing column and those that there are.
    """
    problem = missing_columns(table, names, split)
    if problem is not None:
        raise JobError(problem)


def missing_columns(table: Any, names: Sequence[str], split: str) -> str | None:
    """Return which columns a split lacks, and those that there are; None where it has all of them."""
    missing = [name for name in dict.fromkeys(names) if name not in table.column_names]
    if not missing:
        return None
    return f"split {split!r} lacks {', '.join(map(repr, missing))}; it has {', '.join(map(repr, table.column_names))}"


def numbers(table: Any, name: str) -> Matrix:
    """Return a column as 32-bit floats, NaN where null.

    Raises:
        JobError: If the column is not numeric.
    """
    column = table.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    try:
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float32)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise JobError(f"column {name!r} must be numeric, got {column.type}") from error


def categories(table: Any, name: str) -> list[str | None]:
    """Return a column as text, None where null; integers as their decimal text."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return [value or None for value in pc.cast(column, pa.string()).to_pylist()]


def model_input(table: Any, signature: ModelSignature) -> Matrix:
    """Return the rows in the signature's columns and codes."""
    matrix = np.empty((table.num_rows, len(signature.inputs)), dtype=np.float32)
    for index, column in enumerate(signature.inputs):
        if column.type == "number":
            matrix[:, index] = numbers(table, column.name)
        else:
            position = {category: float(code) for code, category in enumerate(column.categories)}
            matrix[:, index] = [position.get(value or "", -1.0) for value in categories(table, column.name)]
    return matrix
