"""Columns of all supported libraries with edge cases: their types, and columns that cannot be features."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_runtime.monitor.counting.baseline_cells import Coded
from mlops_runtime.monitor.frame_columns import FrameColumn, FrameError, column, live_values, read, times

LIBRARIES: dict[str, Any] = {
    "arrow": lambda table: table,
    "polars": pl.from_arrow,
    "pandas": lambda table: table.to_pandas(),
    "pandas nullable": lambda table: table.to_pandas(
        types_mapper={
            pa.int64(): pd.Int64Dtype(),
            pa.bool_(): pd.BooleanDtype(),
            pa.string(): pd.StringDtype(),
        }.get
    ),
    "pandas on Arrow": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
}
VALUES: dict[str, Any] = {
    "whole": pa.array([1, None, 3], pa.int64()),
    "real": pa.array([1.5, None, float("nan")]),
    "money": pa.array([Decimal("1.25"), None, Decimal("3.00")], pa.decimal128(9, 2)),
    "flag": pa.array([True, None, False]),
    "text": pa.array(["a", None, "b"]),
    "coded": pa.array(["a", None, "b"]).dictionary_encode(),
    "lasts": pa.array([90, None, 30], pa.duration("s")),
}


def series(values: Any, library: str = "arrow") -> nw.Series[Any]:
    """Return values as a column of a library."""
    return read(LIBRARIES[library](pa.table({"x": values})))["x"]


def counted(found: FrameColumn | str) -> tuple[str, list[Any]]:
    """Return a column's type and its Python values, None where one is missing."""
    assert isinstance(found, FrameColumn)
    if isinstance(found.values, Coded):
        return found.type, [None if code < 0 else found.values.levels[code] for code in found.values.codes]
    values = [None if value is None or value != value else value for value in list(found.values)]  # noqa: PLR0124 - NaN
    return found.type, values


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("whole", ("number", [1, None, 3])),
        ("real", ("number", [1.5, None, None])),
        ("money", ("number", [1.25, None, 3])),
        ("flag", ("category", ["true", None, "false"])),
        ("text", ("category", ["a", None, "b"])),
        ("coded", ("category", ["a", None, "b"])),
        ("lasts", ("number", [90, None, 30])),
    ],
)
def test_types_are_what_they_are_in_every_library(library: str, name: str, expected: tuple[str, list[Any]]) -> None:
    """Nullable numbers, booleans, categories, decimals and durations, each with a missing value, have one type."""
    assert counted(column(series(VALUES[name], library))) == expected


def test_objects_are_what_they_hold() -> None:
    """A column of objects has one type; `pd.NA` is missing, and mixed types are reported."""
    frame = pd.DataFrame(
        {
            "numbers": pd.Series([1, pd.NA, 2.5], dtype=object),
            "flags": pd.Series([True, None, False], dtype=object),
            "texts": pd.Series(["a", pd.NA, "b"], dtype=object),
            "mixed": pd.Series([1, "a", None], dtype=object),
        }
    )
    rows = read(frame)
    assert counted(column(rows["numbers"])) == ("number", [1, None, 2.5])
    assert counted(column(rows["flags"])) == ("category", ["true", None, "false"])
    assert counted(column(rows["texts"])) == ("category", ["a", None, "b"])
    assert column(rows["mixed"]) == "values of several types (int, str) are not supported: convert them to one type"


@pytest.mark.parametrize("library", LIBRARIES)
def test_codes_are_levels_where_they_are_declared(library: str) -> None:
    """Codes are levels by their digits, also where nulls made them floats."""
    assert counted(column(series(VALUES["whole"], library), as_category=True)) == ("category", ["1", None, "3"])
    categories = pd.DataFrame({"x": pd.Series([1, None, 3]).astype("category")})
    assert counted(column(read(categories)["x"], as_category=True))[0] == "category"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            pa.array([dt.date(2017, 8, 1)]),
            "Date is not supported: pass the column as timestamp=, or its hour or age as a column",
        ),
        (pa.array([dt.datetime(2017, 8, 1)]), "is not supported: pass the column as timestamp="),
        (pa.array([[1, 2]]), "is not supported: pass its elements as columns"),
        (pa.array([{"a": 1}]), "is not supported: pass its elements as columns"),
        (pa.array([b"a"]), "is not supported: pass its elements as columns"),
    ],
)
def test_what_cannot_be_a_feature_says_why(values: Any, reason: str) -> None:
    """Reports the column's type and the alternative."""
    found = column(series(values))
    assert isinstance(found, str)
    assert reason in found


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_column_without_values_is_one_of_nulls(library: str) -> None:
    """An empty column is one of nulls; later values are then noticed."""
    assert counted(column(series(pa.array([None, None], pa.string()), library))) == ("number", [None, None])


@pytest.mark.parametrize("library", LIBRARIES)
def test_live_values_of_another_type_stay_as_they_are(library: str) -> None:
    """They count as values of another type; an integer is the level with its digits."""
    assert list(live_values(series(pa.array(["12,50", None]), library), "number")) == ["12,50", None]
    assert list(live_values(series(pa.array([1, 2]), library), "category")) == [1, 2]


def test_times_are_utc_to_the_second() -> None:
    """Times with and without a zone, and dates; a missing time stays missing."""
    at = dt.datetime(2017, 8, 1, 6, 0, 0, 900_000, tzinfo=dt.UTC)
    zoned = pa.array([at, None], pa.timestamp("us", tz="Europe/Paris"))
    assert times(series(zoned)).tolist() == [dt.datetime(2017, 8, 1, 6), None]
    assert times(series(pa.array([dt.date(2017, 8, 1)]))).tolist() == [dt.datetime(2017, 8, 1)]
    with pytest.raises(FrameError, match=r"timestamp 'x' must be a column of times or dates, got Int64"):
        times(series(pa.array([1])))


def test_frames_of_other_kinds_are_refused(tmp_path: Path) -> None:
    """Rejects a lazy frame, a list and non-Parquet paths; reads a Parquet file."""
    for frame in ([1, 2], pl.LazyFrame({"x": [1]}), {"x": [1]}):
        with pytest.raises(
            FrameError, match="a frame must be a pandas, polars or Arrow frame, or the path of a Parquet file"
        ):
            read(frame)
    (tmp_path / "rows.csv").write_text("x\n1\n")
    for name in ("rows.csv", "missing.parquet"):
        with pytest.raises(FrameError, match=f"{name} must be a Parquet file"):
            read(tmp_path / name)
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "rows.parquet")
    assert read(str(tmp_path / "rows.parquet")).shape == (2, 1)
    assert np.asarray(read(tmp_path / "rows.parquet")["x"].to_list()).sum() == 3


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame(np.ones((3, 2))), "column names must be strings, got 0, 1; rename them"),
        (
            pd.DataFrame(np.ones((3, 2)), columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])),
            r"must be strings, got \('a', 1\), \('a', 2\)",
        ),
        (pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]), "column names must be unique: .*'a' 2 times"),
        (pa.table([pa.array([1.0])] * 2, names=["a", "a"]), "column names must be unique: .*'a' 2 times"),
    ],
)
def test_each_column_has_a_string_of_its_own_as_name(frame: Any, message: str) -> None:
    """Rejects unnamed, multi-level and duplicate columns by name."""
    with pytest.raises(FrameError, match=message):
        read(frame)
