"""Rows of any table as JSON values."""

import datetime as dt
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest

from mlops_runtime.client.connection import UnitError
from mlops_runtime.client.row_values import rows_of, table_of, values_of


def test_rows_are_values_that_json_has() -> None:
    """Nulls and NaN are null, times ISO 8601, categories their texts, integers whole, decimals numbers."""
    table = pa.table(
        {
            "price": pa.array([2.5, float("nan")]),
            "big": pa.array([9007199254740993, None]),
            "store": pa.array(["a", None]).dictionary_encode(),
            "day": pa.array([dt.date(2017, 8, 1), None]),
            "at": pa.array([dt.datetime(2017, 8, 1, 9, tzinfo=dt.UTC), None]),
            "cost": pa.array([Decimal("1.50"), None]),
            "new": pa.array([True, None]),
        }
    )
    first, second = rows_of(table, table.column_names)
    assert first == {
        "price": 2.5,
        "big": 9007199254740993,
        "store": "a",
        "day": "2017-08-01",
        "at": "2017-08-01T09:00:00+00:00",
        "cost": 1.5,
        "new": True,
    }
    assert set(second.values()) == {None}


def test_order_and_columns_are_kept_over_pieces() -> None:
    """More rows than a piece has; only the columns that are asked for."""
    table = pa.table({"n": range(4501), "other": range(4501)})
    assert [row["n"] for row in rows_of(table, ["n"])] == list(range(4501))
    assert values_of(table, "other")[-1] == 4500


def test_frames_and_lists_are_taken() -> None:
    """Pandas without its index, dicts, Arrow; anything else is refused by name."""
    frame = pd.DataFrame({"a": [1, 2, 3]})[lambda each: each["a"] > 1]
    assert table_of(frame).to_pydict() == {"a": [2, 3]}
    assert table_of([{"a": 1}, {"a": None}]).to_pydict() == {"a": [1, None]}
    with pytest.raises(UnitError, match=r"^rows must be an Arrow table, or a pandas or polars frame, got int"):
        table_of(7)
    with pytest.raises(UnitError, match="a list of rows must contain dicts"):
        table_of([1, 2])
    assert list(rows_of(table_of(pd.DataFrame({"a": []})), ["a"])) == []


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names found: "),
        (pd.DataFrame({"a": [1, "x"]}), "Could not convert 'x' with type str: .* Conversion failed for column a"),
        (pd.DataFrame({"a": [1j]}), "Conversion failed for column a with type complex128"),
        (pd.Series([1, 2], name="a"), "'Series' object has no attribute 'columns'"),
        ({"a": [1, 2], "b": [1]}, "Column 1 named b expected length 2 but got length 1"),
        ("rows.parquet", "got str"),
    ],
)
def test_a_frame_that_no_table_can_be_is_refused(rows: object, why: str) -> None:
    """In one message with the fix, also of pandas."""
    with pytest.raises(UnitError, match=f"{why}.*; give each column a unique name and values of one type"):
        table_of(rows)


def test_an_index_of_any_kind_is_no_column() -> None:
    """Of several levels, with gaps, or of times."""
    levels = pd.MultiIndex.from_tuples([("x", 1), ("x", 1)], names=["k", "l"])
    assert table_of(pd.DataFrame({"a": [1, 2]}, index=levels)).column_names == ["a"]
    assert table_of(pd.DataFrame([[1, 2]])).column_names == ["0", "1"]


def test_bytes_are_refused_by_name() -> None:
    """JSON has none."""
    table = table_of(pd.DataFrame({"id": [b"x"]}))
    with pytest.raises(UnitError, match=r"column 'id' has bytes.*decode it: frame\['id'\]"):
        values_of(table, "id")
