"""``python -m mlops_runtime.training_data.sample_rows SCHEMA.json ROWS.parquet``: generate rows from a schema, without any data.

Labels depend on the first inputs other than the key, with noise, so that a model can learn them and a naive guess cannot.
"""

import math
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.training_data.file_split import FileSplit, split_file
from mlops_runtime.training_data.naive_baselines import with_baselines
from mlops_runtime.training_data.table_schema import InputColumn, TableSchema

_BEGIN = datetime(2023, 1, 2, tzinfo=UTC)  # all rows are in the past: the gate rejects a holdout of the future
_TIMES, _A_TIME = 100, 24  # weeks, and rows per week: enough blocks of either kind in the last 15 %
_DECIDING = 3  # inputs that labels depend on
_ENTITIES = 8  # values of an entity that is neither key nor input
_NULLS = 0.05
_STEEP = 20  # steepness of the chance between 0 and 1
_SEED = 7


def sample_table(schema: TableSchema) -> Any:
    """Return rows in the form of a file of the schema, as an Arrow table; the same schema gives the same rows.

    Example:
        >>> inputs = (InputColumn(name="price", type="number", kind="float", nullable=False, low=1, high=3),)
        >>> sample_table(TableSchema(
        ...     label="units", label_kind="number", metric="wape", time="day", block="block_week", cluster="block_week",
        ...     baselines=("naive_median",), inputs=inputs, left_out=(), rows=0, holdout_rows=0, minimum_rows=0)).column_names
        ['price', 'day', 'units']
    """
    generator = random.Random(_SEED)  # noqa: S311 - rows for tests
    rows = _TIMES * _A_TIME
    columns: dict[str, list[Any]] = {}
    scores = [0.0] * rows
    deciding = [column for column in schema.inputs if column.name != schema.key][:_DECIDING]
    for column in schema.inputs:
        if column.name == schema.key:
            continue
        values, shares = _values(column, rows, generator)
        columns[column.name] = values
        if column in deciding:
            scores = [score + share / len(deciding) for score, share in zip(scores, shares, strict=True)]
    if schema.key is not None:
        keys = _keys(schema)
        columns[schema.key] = [keys[number % len(keys)] for number in range(rows)]
    for name in schema.entities:  # the key alone distinguishes rows of one time
        columns.setdefault(name, [f"{number % _ENTITIES:02}" for number in range(rows)])
    columns[schema.time] = [_BEGIN + timedelta(weeks=number // _A_TIME) for number in range(rows)]
    columns[schema.label] = _labels(schema, scores, generator)
    return pa.table({name: columns[name] for name in schema.kept})


def sample_splits(schema: TableSchema, folder: Path) -> FileSplit:
    """Return both splits of such rows, with baselines, as ``mlops train --data`` publishes them.

    Args:
        folder: An empty folder to work in.
    """
    path = folder / "sample.parquet"
    pq.write_table(sample_table(schema), path)
    cut = split_file(path, replace(schema, holdout_from=None))
    train, holdout = with_baselines(cut.train, cut.holdout, schema.baselines, label=schema.label, timestamp=schema.time)
    return replace(cut, train=train, holdout=holdout)


def _values(column: InputColumn, rows: int, generator: random.Random) -> tuple[list[Any], list[float]]:
    """Return a column's values and their relative size from 0 to 1."""
    if column.type == "category":
        names: Sequence[Any] = column.categories or ("a", "b", "c")
        if column.kind == "integer":
            names = [int(name) for name in column.categories] or [1, 2, 3]
        chosen = [generator.randrange(len(names)) for _ in range(rows)]
        values: list[Any] = [names[place] for place in chosen]
        shares = [place / max(len(names) - 1, 1) for place in chosen]
    else:
        shares = [generator.random() for _ in range(rows)]
        values = [column.low + share * (column.high - column.low) for share in shares]
        if column.kind == "integer":
            values = [round(value) for value in values]
        elif column.kind == "boolean":
            values = [share > 0.5 for share in shares]
            shares = [float(value) for value in values]
    if column.nullable:
        for row in range(rows):
            if generator.random() < _NULLS:
                values[row], shares[row] = None, 0.5
    return values, shares


def _keys(schema: TableSchema) -> list[Any]:
    known = next((column.categories for column in schema.inputs if column.name == schema.key), ())
    made = list(known) if len(known) >= _A_TIME // 2 else [f"{number:02}" for number in range(1, _A_TIME + 1)]
    if schema.entities:  # one row per key and time
        made += [f"{number:02}" for number in range(1, 2 * _A_TIME) if f"{number:02}" not in made][
            : max(_A_TIME - len(made), 0)
        ]
    return [int(name) for name in made] if schema.key_kind == "integer" else made


def _labels(schema: TableSchema, scores: Sequence[float], generator: random.Random) -> list[Any]:
    if schema.label_kind == "chance":
        chances = [1 / (1 + math.exp(-_STEEP * (score - 0.5))) for score in scores]
        return [int(generator.random() < chance) for chance in chances]
    noisy = [score + generator.gauss(0, 0.05) for score in scores]
    if schema.label_kind == "classes":
        ordered = sorted(noisy)
        bounds = [ordered[len(ordered) * place // len(schema.classes)] for place in range(1, len(schema.classes))]
        return [schema.classes[sum(value >= bound for bound in bounds)] for value in noisy]
    low, high = schema.low, schema.high
    values = [low + value * (high - low) for value in noisy]
    return [max(value, 0.0) for value in values] if low >= 0 else values


def main(arguments: Sequence[str]) -> int:
    """Write the rows; return the exit code."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m mlops_runtime.training_data.sample_rows SCHEMA.json ROWS.parquet\n")
        return 2
    try:
        schema = from_json(TableSchema, Path(arguments[0]).read_bytes())
    except (OSError, ContractError) as error:
        sys.stderr.write(f"mlops sample rows: cannot read {arguments[0]}: {error}\n")
        return 1
    table = sample_table(schema)
    pq.write_table(table, arguments[1])
    sys.stdout.write(f"{arguments[1]}: {table.num_rows} rows\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
