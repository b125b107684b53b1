"""Which engine builds a training set: what Iceberg's metadata says will be read decides, before a byte of it is.

DuckDB needs memory for keys and times of the largest table, one table at a time; Spark on Glue has no such bound, and starts
slowly. Athena is asked for by name: the bytes that a query reads say nothing of the memory that its window needs, and it ends what
runs longer than its timeout. All give the same content hash, so that the choice is one of cost alone.

See: https://docs.aws.amazon.com/athena/latest/ug/service-limits.html (DML query timeout, 30 minutes by default)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Engine = Literal["duckdb", "athena", "spark"]

ROW_BYTES = (
    130  # of memory a row of the largest table: keys, times, place and DuckDB's sort; benchmarks/features measures it
)
ENTITY_BYTES = 500  # of memory an entity row: its columns, its features, and what picks them
_GIB = 1 << 30
_MIB = 1 << 20


class EngineError(ValueError):
    """An engine is forced that there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a scan of a table will read, by its metadata: bytes of data files, and the rows in them."""

    table: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """The engine, why, and the estimate that it was chosen by: bytes to read, rows, and bytes of memory that DuckDB would need."""

    engine: Engine
    reason: str
    bytes: int
    rows: int
    memory: int


def planned(table: str, tasks: Sequence[Any]) -> Planned:
    """Return what a scan will read: the data files that its filter leaves, whole.

    Args:
        table: Name of the table.
        tasks: The data files, as ``scan_tasks`` gives them.
    """
    files = [task.file for task in tasks]
    return Planned(
        table=table, bytes=sum(file.file_size_in_bytes for file in files), rows=sum(file.record_count for file in files)
    )


def choose(
    tables: Sequence[Planned], entity_rows: int, *, memory: int = 8 * _GIB, forced: Engine | None = None
) -> EngineChoice:
    """Return the engine for a training set.

    Args:
        tables: What is read of each feature table.
        entity_rows: How many entity rows there are.
        memory: Bytes that DuckDB may use where it would run. Default: 8 GiB.
        forced: Use this engine for any size. Default: the sizes decide.

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
        engine, reason = (
            forced,
            f"engine={forced!r} was requested for any size: {about}, {_size(to_read)} to read",
        )
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
