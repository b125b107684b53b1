"""Choice of the engine that builds a training set, by the amount of data to read according to Iceberg's metadata.

DuckDB needs memory for keys and times of the largest table, one table at a time. Spark on Glue has no such limit but starts slowly.
Athena is used only on request: the bytes that a query reads do not predict the memory of its window, and Athena cancels queries
that exceed its timeout. All engines give the same content hash, so the choice affects only cost.

See: https://docs.aws.amazon.com/athena/latest/ug/service-limits.html (DML query timeout, 30 minutes by default)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Engine = Literal["duckdb", "athena", "spark"]

# bytes of memory per row of the largest table: keys, times, position and DuckDB's sort; measured by benchmarks/features
ROW_BYTES = 130
ENTITY_BYTES = 500  # bytes of memory per entity row: its columns, its features and their selection
_GIB = 1 << 30
_MIB = 1 << 20


class EngineError(ValueError):
    """The requested engine does not exist, or the memory is invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Bytes and rows of the data files that a scan of a table reads, by its metadata."""

    table: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """The engine, the reason, and the estimate: bytes to read, rows, and bytes of memory that DuckDB needs."""

    engine: Engine
    reason: str
    bytes: int
    rows: int
    memory: int


def planned(table: str, tasks: Sequence[Any]) -> Planned:
    """Return the size of a scan: all data files that its filter leaves, counted whole."""
    files = [task.file for task in tasks]
    return Planned(
        table=table, bytes=sum(file.file_size_in_bytes for file in files), rows=sum(file.record_count for file in files)
    )


def choose(
    tables: Sequence[Planned], entity_rows: int, *, memory: int = 8 * _GIB, forced: Engine | None = None
) -> EngineChoice:
    """Return the engine for a training set: a forced one for any size, else by the bytes of memory available to DuckDB.

    Raises:
        EngineError: If there is no such engine, or the memory is not positive.

    Example:
        >>> choose([Planned(table="stock_v1", bytes=207_000_000, rows=10_000_000)], 1_000_000).engine
        'duckdb'
        >>> choose([Planned(table="clicks_v1", bytes=900_000_000_000, rows=40_000_000_000)], 1_000_000).engine
        'spark'
    """
    problems = []
    if forced is not None and forced not in get_args(Engine):
        problems.append(f"engine must be one of {', '.join(get_args(Engine))}, got {forced!r}")
    if memory <= 0:
        problems.append(f"memory must be a positive number of bytes, got {memory}")
    if problems:
        raise EngineError("; ".join(problems))
    to_read = sum(table.bytes for table in tables)
    largest = max(tables, key=lambda table: table.rows, default=None)
    needed = entity_rows * ENTITY_BYTES + (0 if largest is None else largest.rows * ROW_BYTES)
    about = f"{_size(needed)} of memory for {entity_rows} entity rows and {_of(largest)}"
    if forced is not None:
        engine, reason = (forced, f"engine={forced!r} was requested for any size: {about}, {_size(to_read)} to read")
    elif needed <= memory:
        engine, reason = "duckdb", f"{about} fit into {_size(memory)}"
    else:
        engine, reason = "spark", f"{about} do not fit into {_size(memory)}; {_size(to_read)} to read"
    return EngineChoice(
        engine=engine, reason=reason, bytes=to_read, rows=sum(table.rows for table in tables), memory=needed
    )


def _size(count: int) -> str:
    if count < _MIB:
        return "less than 1 MiB"
    return f"{count / _GIB:.2f} GiB" if count >= _GIB else f"{count / _MIB:.0f} MiB"


def _of(largest: Planned | None) -> str:
    return "no feature rows" if largest is None else f"{largest.rows} rows of {largest.table}"
