"""Convert data frame columns to the values that monitors count: pandas, polars and Arrow via narwhals, Parquet via pyarrow.

A feature's type follows from the reference column's type; only object columns are typed by their values. Numbers become 64-bit
floats. Strings and booleans become levels, written as in JSON, as in the capture of a call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import narwhals as nw
import numpy as np

from mlops_runtime.monitor.counting.baseline_cells import Coded, Column

Type = Literal["number", "category"]


class FrameError(ValueError):
    """A data frame cannot be compared; the message lists every problem."""


@dataclass(frozen=True, slots=True)
class FrameColumn:
    """A column that can be a feature."""

    type: Type  # number or category
    values: Column  # the values; missing ones are NaN or null


def read(frame: Any) -> nw.DataFrame[Any]:
    """Return a pandas, polars or Arrow frame, or the Parquet file at a path, as a narwhals frame.

    Raises:
        FrameError: If the type is not supported, or column names are duplicate or not strings.

    Example:
        >>> import pyarrow as pa
        >>> read(pa.table({"price": [1.0, 2.0]})).shape
        (2, 1)
    """
    if isinstance(frame, str | Path):
        frame = _parquet(Path(frame))
    try:
        rows: nw.DataFrame[Any] = nw.from_native(frame, eager_only=True)
        names: list[Any] = rows.columns
    except nw.exceptions.DuplicateError as error:
        raise FrameError(f"column names must be unique: {' '.join(str(error).split())}") from error
    except TypeError as error:
        raise FrameError(
            f"a frame must be a pandas, polars or Arrow frame, or the path of a Parquet file, got {type(frame).__name__}; "
            "collect a lazy frame first"
        ) from error
    if others := [name for name in names if not isinstance(name, str)]:
        raise FrameError(f"column names must be strings, got {', '.join(map(repr, others))}; rename them")
    return rows


def column(series: nw.Series[Any], *, as_category: bool = False) -> FrameColumn | str:
    """Return a column's type and values, or the reason why it cannot be a feature.

    Args:
        series: The reference's column.
        as_category: Whether numbers are levels of a category. Default: they are numbers.

    Example:
        >>> import pyarrow as pa
        >>> column(read(pa.table({"tags": [["a"], ["b"]]}))["tags"])
        'List(String) is not supported: pass its elements as columns'
    """
    dtype, known = series.dtype, series.drop_nulls()
    if len(known) == 0:
        return FrameColumn("number", np.full(len(series), np.nan))
    if dtype in (nw.Object, nw.Unknown):
        return _of_objects(series, as_category=as_category)
    if dtype in (nw.Boolean, nw.String, nw.Categorical, nw.Enum) or (as_category and dtype.is_numeric()):
        return FrameColumn("category", _coded(series))
    if dtype.is_numeric():
        return FrameColumn("number", series.cast(nw.Float64).to_numpy().astype(np.float64))
    if dtype == nw.Duration:
        return FrameColumn("number", _spread(series, lambda some: some.dt.total_microseconds().to_numpy() / 1e6))
    if dtype in (nw.Date, nw.Datetime, nw.Time):
        return f"{dtype} is not supported: pass the column as timestamp=, or its hour or age as a column"
    return f"{dtype} is not supported: pass its elements as columns"


def live_values(series: nw.Series[Any], of: Type, *, as_category: bool = False) -> Column:
    """Return a live column's values for a feature of a type; values of another type stay unchanged and count as mistyped.

    Example:
        >>> import pyarrow as pa
        >>> live_values(read(pa.table({"price": ["12,50"]}))["price"], "number")
        ['12,50']
    """
    found = column(series, as_category=as_category)
    if isinstance(found, FrameColumn) and found.type == of:
        return found.values
    missing = series.is_null().to_list()
    return [None if is_null else _plain(value) for is_null, value in zip(missing, series.to_list(), strict=True)]


def times(series: nw.Series[Any]) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """Return times to the second, in UTC; missing ones are NaT.

    Raises:
        FrameError: If the column is neither times nor dates.

    Example:
        >>> from datetime import datetime
        >>> import pyarrow as pa
        >>> str(times(read(pa.table({"at": [datetime(2017, 8, 1, 6)]}))["at"])[0])
        '2017-08-01T06:00:00'
    """
    if series.dtype not in (nw.Datetime, nw.Date):
        raise FrameError(f"timestamp {series.name!r} must be a column of times or dates, got {series.dtype}")
    seconds = _spread(series, lambda some: some.cast(nw.Datetime("us")).dt.timestamp("ms").to_numpy() / 1e3)
    found = np.full(len(seconds), np.datetime64("NaT"), dtype="datetime64[s]")
    known = ~np.isnan(seconds)
    found[known] = seconds[known].astype(np.int64).astype("datetime64[s]")
    return found


def _parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415 - of an extra: only a path needs it
    except ImportError as error:
        raise FrameError(f"reading {path} needs pyarrow; install it, or pass a frame") from error
    try:
        return pq.read_table(path)
    except (OSError, ValueError) as error:
        raise FrameError(f"{path} must be a Parquet file: {error}") from error


def _of_objects(series: nw.Series[Any], *, as_category: bool) -> FrameColumn | str:
    missing = series.is_null().to_list()
    values = [None if is_null else _plain(v) for is_null, v in zip(missing, series.to_list(), strict=True)]
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and not as_category:
        return FrameColumn("number", np.array([np.nan if v is None else float(v) for v in values]))
    if kinds <= {str} or kinds <= {bool} or (as_category and kinds <= {int, float}):
        return FrameColumn("category", [None if value is None else _text(value) for value in values])
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    return f"values of several types ({names}) are not supported: convert them to one type"


def _coded(series: nw.Series[Any]) -> Coded:
    """Return each row's level as its index among the levels, -1 if missing."""
    codes = np.full(len(series), -1, dtype=np.int64)
    known = ~series.is_null().to_numpy().astype(bool)
    some = series.drop_nulls()
    if some.dtype == nw.Boolean:
        codes[known] = some.to_numpy().astype(np.int64)
        return Coded(codes, ("false", "true"))
    if some.dtype in (nw.Categorical, nw.Enum):
        some = some.cast(nw.String)
    levels = some.unique(maintain_order=True).to_list()
    places = some.replace_strict(levels, list(range(len(levels))), return_dtype=nw.Int64)
    codes[known] = places.to_numpy()
    return Coded(codes, tuple(_text(_plain(level)) for level in levels))


def _spread(series: nw.Series[Any], of: Callable[[nw.Series[Any]], Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return ``of`` of the values that are not null, at their positions, and NaN elsewhere."""
    found = np.full(len(series), np.nan)
    known = ~series.is_null().to_numpy().astype(bool)
    found[known] = of(series.drop_nulls())
    return found


def _plain(value: Any) -> Any:
    """Return a value as a Python object instead of a numpy scalar or Decimal."""
    if isinstance(value, np.generic):
        value = value.item()
    return float(value) if isinstance(value, Decimal) else value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
