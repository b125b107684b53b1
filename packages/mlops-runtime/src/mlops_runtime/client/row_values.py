"""Conversion of table rows to JSON values for an endpoint, in batches."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from mlops_runtime.client.connection import UnitError
from mlops_runtime.training_data.published_set import PublishError, as_table

_PIECE = 2000


def table_of(rows: Any) -> Any:
    """Return rows as an Arrow table.

    Args:
        rows: An Arrow table, a pandas or polars frame, or a list of dicts.

    Raises:
        UnitError: If ``rows`` has another type.

    Example:
        >>> table_of([{"price": 2.5}]).column_names
        ['price']
    """
    if isinstance(rows, list):
        try:
            return pa.Table.from_pylist(rows)
        except (AttributeError, TypeError, pa.ArrowException) as error:
            raise UnitError(f"a list of rows must contain dicts, value by column: {error}") from error
    try:
        return as_table(rows)
    except PublishError as error:
        raise UnitError("; ".join(error.problems)) from error


def values_of(table: Any, column: str) -> list[Any]:
    """Return the values of a column as JSON values: times as ISO 8601, NaN as ``None``.

    Raises:
        UnitError: If the column has bytes.
    """
    return _plain(table.column(column), column)


def rows_of(table: Any, columns: Sequence[str]) -> Iterator[dict[str, object]]:
    """Yield the rows of a table, value by column.

    Example:
        >>> list(rows_of(pa.table({"price": [2.5, float("nan")], "store": ["a", None]}), ["price", "store"]))
        [{'price': 2.5, 'store': 'a'}, {'price': None, 'store': None}]
    """
    chosen = table.select(columns)
    for start in range(0, chosen.num_rows, _PIECE):
        piece = chosen.slice(start, _PIECE)
        for values in zip(*map(_plain, piece.columns, columns), strict=True):
            yield dict(zip(columns, values, strict=True))


def _plain(column: Any, name: str) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type), name)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise UnitError(
            f"column {name!r} has bytes, which JSON does not support; decode it: frame[{name!r}].str.decode('utf-8')"
        )
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(kind):
        return [None if value is None or not math.isfinite(value) else value for value in values]
    if pa.types.is_decimal(kind):
        return [None if value is None else float(value) for value in values]
    if pa.types.is_temporal(kind):
        return [None if value is None else _iso(value) for value in values]
    return values


def _iso(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
