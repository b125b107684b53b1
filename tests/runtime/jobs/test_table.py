"""Arrow columns reach the model as requests do."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_runtime.jobs.optml import JobError
from mlops_runtime.jobs.table import categories, model_input, numbers, read_split, require_columns
from mlops_runtime.serving.payload import parse


def test_rows_are_the_same_as_through_a_request(models: Any) -> None:
    """A split and a request with the same values give the same matrix."""
    rows = [
        {"price": 1.25, "stock": None, "store": "east"},
        {"price": 0.1, "stock": 7.0, "store": "unknown"},
    ]
    body = json.dumps({"instances": rows}).encode()
    np.testing.assert_array_equal(
        model_input(pa.Table.from_pylist(rows), models.signature), parse("application/json", body, models.signature)
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, 3], pa.int64()),
        ([Decimal("1.0"), None, Decimal("3.0")], pa.decimal128(5, 1)),
        ([1.0, None, 3.0], pa.float32()),
    ],
)
def test_numbers_of_any_type_are_read(values: list[Any], kind: Any) -> None:
    """Integers, decimals and floats are numbers; null is NaN."""
    np.testing.assert_array_equal(numbers(pa.table({"x": pa.array(values, kind)}), "x"), [1, np.nan, 3])


def test_booleans_are_numbers_and_dictionaries_are_text() -> None:
    """Flags become 0 and 1; encoded levels become their text."""
    table = pa.table({"flag": [True, None], "level": pa.array(["a", ""]).dictionary_encode(), "id": [367, 2]})
    np.testing.assert_array_equal(numbers(table, "flag"), [1, np.nan])
    assert (categories(table, "level"), categories(table, "id")) == (["a", None], ["367", "2"])


def test_a_split_is_all_files_in_order(tmp_path: Path) -> None:
    """Parts are read by name."""
    for name, value in (("part-1", 2), ("part-0", 1)):
        pq.write_table(pa.table({"x": [value]}), tmp_path / f"{name}.parquet")
    assert read_split(tmp_path).column("x").to_pylist() == [1, 2]


def test_fails_for_columns_that_are_missing_or_of_the_wrong_type(tmp_path: Path) -> None:
    """All missing columns at once, and what there is."""
    table = pa.table({"x": ["a"]})
    with pytest.raises(JobError, match="split 'train' lacks 'y', 'z'; it has 'x'"):
        require_columns(table, ["x", "y", "z"], "train")
    with pytest.raises(JobError, match="column 'x' must be numeric, got string"):
        numbers(table, "x")


def test_fails_for_an_empty_split(tmp_path: Path) -> None:
    """No files and no rows are errors."""
    with pytest.raises(JobError, match="must hold Parquet files, got none"):
        read_split(tmp_path)
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), tmp_path / "part-0.parquet")
    with pytest.raises(JobError, match="must hold at least one row, got none"):
        read_split(tmp_path)
