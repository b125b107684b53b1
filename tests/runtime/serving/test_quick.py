"""The short way: what it answers is what the long way answers, and it leaves its input alone."""

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.payload import CSV, JSON, PayloadError, Reader, _matrix
from mlops_runtime.serving.quick import Quick

COLUMN = st.builds(
    lambda name, kind, nullable: SignatureColumn(
        name=name, type=kind, nullable=nullable, categories=("x", "1", "ünder_score") if kind == "category" else ()
    ),
    st.sampled_from("abcd"),
    st.sampled_from(["number", "category"]),
    st.booleans(),
)
SIGNATURE = st.lists(COLUMN, min_size=1, max_size=4, unique_by=lambda column: column.name).map(
    lambda columns: ModelSignature(inputs=tuple(columns), output="units")
)
VALUE = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([None, True, "x", "1", "nope", 1e39, 3.4028236e38, [], {}, ""]),
)
CELL = st.one_of(
    st.floats().map(str),
    st.sampled_from(["", " ", "x", "1", "nope", "1e39", "1_0", "inf", "nan", " 2 ", "ünder_score", "0x1", "\u0661"]),
)


def both(signature: ModelSignature, rows: list[Any], kind: str) -> None:
    """Ask both ways and compare."""
    before = copy.deepcopy(rows)
    quick = Quick(signature).json(rows) if kind == JSON else Quick(signature).csv(rows)
    assert rows == before
    if quick is not None:
        np.testing.assert_array_equal(quick, _matrix(rows, kind, signature))
        assert quick.dtype == np.float32


@given(data=st.data(), signature=SIGNATURE)
@settings(max_examples=120)
def test_json_is_read_as_by_the_long_way(data: st.DataObject, signature: ModelSignature) -> None:
    """Arrays and objects of anything: the same matrix, or it is left to the long way."""
    names = [column.name for column in signature.inputs]
    array = st.lists(VALUE, min_size=len(names), max_size=len(names))
    whole = st.fixed_dictionaries(dict.fromkeys(names, VALUE))
    odd = st.one_of(VALUE, st.lists(VALUE, max_size=5), st.dictionaries(st.sampled_from("abcde"), VALUE))
    both(signature, data.draw(st.lists(st.one_of(array, whole, odd), min_size=1, max_size=4)), JSON)


@given(data=st.data(), signature=SIGNATURE)
@settings(max_examples=120)
def test_csv_is_read_as_by_the_long_way(data: st.DataObject, signature: ModelSignature) -> None:
    """Cells of anything."""
    width = len(signature.inputs)
    rows = st.lists(st.lists(CELL, min_size=width, max_size=width) | st.lists(CELL, max_size=5), min_size=1, max_size=4)
    both(signature, data.draw(rows), CSV)


def test_plain_requests_take_the_short_way(models: Any) -> None:
    """Else the property above would hold of nothing."""
    quick = Quick(models.signature)
    rows = [
        [1, None, "east"],
        {"store": "nowhere", "stock": 2.5, "price": 0},
        {"price": 1.5, "stock": 1, "store": "north"},
    ]
    expected = [[1, math.nan, 2], [0, 2.5, -1], [1.5, 1, 0]]
    np.testing.assert_array_equal(quick.json(rows), np.array(expected, dtype=np.float32))
    np.testing.assert_array_equal(
        quick.csv([["1", "nan", "east"], ["0", "2.5", "x"]]), np.array([[1, math.nan, 2], [0, 2.5, -1]])
    )


@pytest.mark.parametrize(
    "row", [[True, 1, "east"], ["1", 1, "east"], [1e39, 1, "east"], [None, 1, "east"], [1, 1, 2], [1], 7, {}]
)
def test_what_is_not_plain_is_left_to_the_long_way(models: Any, row: Any) -> None:
    """Which refuses it with its reason."""
    assert Quick(models.signature).json([[1, 1, "east"], row]) is None
    with pytest.raises(PayloadError):
        Reader(models.signature).rows([[1, 1, "east"], row])
