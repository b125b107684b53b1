"""Rows that a server would reject, counted and named over a whole table."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.request_payload import PayloadError, Reader
from mlops_runtime.serving.unfit_rows import unfit_rows

COLUMNS = {
    "age": SignatureColumn(name="age", type="number"),
    "count": SignatureColumn(name="count", type="number", kind="integer"),
    "is_open": SignatureColumn(name="is_open", type="number", kind="boolean"),
    "store": SignatureColumn(name="store", type="category", categories=("a",)),
    "code": SignatureColumn(name="code", type="category", kind="integer", categories=("1",)),
}


def _signature(name: str, **changes: Any) -> ModelSignature:
    return ModelSignature(inputs=(replace(COLUMNS[name], **changes),), output="y", passes="values")


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("age", [1.0, None, 3.0, None], "x has nulls where signature.json allows none: 'age' in 2 of 4 rows (1, 3 from 0); set"),
        ("age", [float("nan")] * 5, "x has nulls where signature.json allows none: 'age' in 5 of 5 rows (0, 1, 2, ... from 0)"),
        ("age", [1.0, float("inf")], "'age' must be finite, got inf: in 1 of 2 rows (1 from 0) of x"),
        ("age", ["old"], "'age' is of type string in x, signature.json declares a number"),
        ("count", [2.5], "'count' must be an integer from -9007199254740992 to 9007199254740992, got 2.5"),
        ("is_open", [2.0], "'is_open' must be true or false, got 2.0"),
        ("store", ["a", None, ""], "x has nulls where signature.json allows none: 'store' in 2 of 3 rows (1, 2 from 0)"),
        ("store", [[1]], "'store' is of type list<item: int64> in x, signature.json declares a category"),
        ("code", ["1", "x"], "'code' must be an integer, got 'x': in 1 of 2 rows (1 from 0) of x"),
    ],
)  # fmt: skip
def test_what_the_server_refuses_is_counted(name: str, values: list[Any], problem: str) -> None:
    """With the first rows and the fix; the server rejects the same rows."""
    (found,) = unfit_rows(pa.table({name: values}), _signature(name), "x")
    assert found.startswith(problem)
    with pytest.raises(PayloadError):
        Reader(_signature(name)).rows([[value] for value in values])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("age", [1, 2]),
        ("count", [2.0, 3.0]),
        ("is_open", [True, False]),
        ("store", ["a", "unknown"]),
        ("code", [1, 7]),
    ],
)
def test_what_the_server_takes_has_no_problem(name: str, values: list[Any]) -> None:
    """Also as an Arrow dictionary, and null where allowed."""
    assert unfit_rows(pa.table({name: values}), _signature(name), "x") == []
    column = pa.array([*values, None])
    encoded = column if pa.types.is_boolean(column.type) else column.dictionary_encode()
    assert unfit_rows(pa.table({name: encoded}), _signature(name, nullable=True), "x") == []


def test_nulls_of_several_columns_are_one_problem() -> None:
    """The fix is given once; a missing column is skipped."""
    signature = ModelSignature(inputs=tuple(COLUMNS.values()), output="y")
    found = unfit_rows(pa.table({"age": [None, 1.0], "store": ["a", None]}), signature, "x")
    assert found == [
        "x has nulls where signature.json allows none: 'age' in 1 of 2 rows (0 from 0), 'store' in 1 of 2 rows (1 from 0); set "
        '"nullable": true if the model accepts missing values, else fill them before training and in every request'
    ]


def test_codes_are_32_bit_floats() -> None:
    """A larger number reaches no model."""
    signature = replace(_signature("age"), passes=None)
    found = unfit_rows(pa.table({"age": np.array([1e300])}), signature, "x")
    assert found == ["'age' must be finite as a 32-bit float, got 1e+300: in 1 of 1 rows (0 from 0) of x"]
