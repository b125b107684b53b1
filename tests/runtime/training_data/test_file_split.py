"""A file is split by its schema, and a later one by its own times."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mlops_runtime.training_data.file_split import split_file
from mlops_runtime.training_data.table_file import TableError
from mlops_runtime.training_data.table_schema import read_schema

BEGIN = datetime(2025, 1, 6, tzinfo=UTC)


def sales(days: int, first: int = 0) -> dict[str, Any]:
    """Return a row for each day and shop."""
    number = [(day, shop) for day in range(first, first + days) for shop in range(13)]
    return {
        "shop_id": [shop for _, shop in number],
        "day": [(BEGIN + timedelta(days=day)).date() for day, _ in number],
        "shelf": ["", "low", "top", None] * (len(number) // 4),
        "price": [float(day) if shop else float("nan") for day, shop in number],
        "open": [None if shop == 5 else shop % 2 == 0 for _, shop in number],
        "units": [None if shop == 3 else float(shop + day % 5) for day, shop in number],
    }


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Forty days."""
    pq.write_table(pa.table(sales(40)), tmp_path / "first.parquet")
    return tmp_path / "first.parquet"


def test_values_are_as_a_model_takes_them(first: Path) -> None:
    """Integer ids are categories, empty strings and NaN are null, and rows without a label are in neither split."""
    schema = read_schema(first, label="units", time="day", key="shop_id")
    split = split_file(first, schema)
    assert split.dropped == 40
    assert split.train.column_names == ["shop_id", "shelf", "price", "open", "day", "units", "cluster_day"]
    assert pa.types.is_dictionary(split.train["shop_id"].type)
    assert set(split.train["shelf"].to_pylist()) == {"low", "top", None}
    assert split.train["price"].null_count == len(split.train.filter(pc.equal(split.train["shop_id"].cast("int64"), 0)))
    assert set(split.train["open"].to_pylist()) == {0.0, 1.0, None}
    assert pc.max(split.train["day"]).as_py() < pc.min(split.holdout["day"]).as_py()
    assert {column.name: column.nullable for column in schema.inputs} == {
        "shop_id": False,
        "shelf": True,
        "price": True,
        "open": True,
    }


def test_a_later_file_is_cut_by_its_own_times(first: Path, tmp_path: Path) -> None:
    """An explicit time overrides this."""
    schema = read_schema(first, label="units", time="day", key="shop_id")
    pq.write_table(pa.table(sales(80) | {"new": [1] * 1040}), tmp_path / "later.parquet")
    later = split_file(tmp_path / "later.parquet", schema)
    assert pc.min(later.holdout["day"]).as_py() > pc.max(split_file(first, schema).holdout["day"]).as_py()
    named = split_file(tmp_path / "later.parquet", schema, holdout_from="2025-02-05")
    assert pc.min(named.holdout["day"]).as_py() == datetime(2025, 2, 5, tzinfo=UTC)


def test_a_file_of_other_columns_is_refused_with_all_of_them(first: Path, tmp_path: Path) -> None:
    """All columns are listed with name and type."""
    schema = read_schema(first, label="units", time="day", key="shop_id")
    changed = sales(40)
    del changed["shelf"]
    changed |= {"price": ["dear"] * 520, "units": ["many"] * 520, "day": [True] * 520}
    pq.write_table(pa.table(changed), tmp_path / "other.parquet")
    with pytest.raises(TableError) as raised:
        split_file(tmp_path / "other.parquet", schema)
    assert [problem.partition(";")[0] for problem in raised.value.problems] == [
        "the column 'shelf' is missing",
        "column 'price' must be a number, got VARCHAR",
        "column 'day' must have times, dates or integers that count them, got BOOLEAN",
        "label 'units' must be numbers, got VARCHAR",
    ]


def test_weeks_and_classes(tmp_path: Path) -> None:
    """A table without a key has a column of weeks; a later file must have every class on both sides."""
    rows = 1500
    values = {
        "at": [BEGIN + timedelta(days=number // 3) for number in range(rows)],
        "price": [float(number % 17) for number in range(rows)],
        "shelf": ["low", "mid", "top"] * 500,
    }
    pq.write_table(pa.table(values), tmp_path / "first.parquet")
    schema = read_schema(tmp_path / "first.parquet", label="shelf", time="at")
    split = split_file(tmp_path / "first.parquet", schema)
    assert split.train["block_week"][0].as_py() == "2025-01-06"
    pq.write_table(pa.table(values | {"shelf": ["low"] * 750 + ["top"] * 750}), tmp_path / "later.parquet")
    with pytest.raises(TableError, match="'low' has no rows in the holdout; choose another --holdout-from"):
        split_file(tmp_path / "later.parquet", schema)
