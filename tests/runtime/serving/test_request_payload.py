"""The fast path: equal to the general one, without changing its input.

Requests and responses: both formats agree, and bad values are named with their column.
"""

import copy
import csv
import io
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.request_payload import (
    CSV,
    JSON,
    PayloadError,
    Quick,
    QuickValues,
    Reader,
    _matrix,
    encode,
    parse,
)

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


STORES = ("north", "south, old", 'ea"st')
FIXED_SIGNATURE = ModelSignature(
    inputs=(
        SignatureColumn(name="price", type="number"),
        SignatureColumn(name="stock", type="number", nullable=True),
        SignatureColumn(name="store", type="category", categories=STORES),
    ),
    output="units",
)
FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROW = st.tuples(FLOAT, st.none() | FLOAT, st.sampled_from(STORES) | st.text(st.characters(codec="utf-8"), min_size=1))


def both(signature: ModelSignature, rows: list[Any], kind: str) -> None:
    """Parse by both paths and compare."""
    before = copy.deepcopy(rows)
    way = Quick(signature) if signature.passes is None else QuickValues(signature)
    quick = way.json(rows) if kind == JSON else way.csv(rows)
    assert rows == before
    if quick is not None:
        expected = _matrix(rows, kind, signature)
        assert quick.dtype == expected.dtype
        if quick.dtype != object:
            np.testing.assert_array_equal(quick, expected)
        else:  # NaN objects equal nothing
            assert str(quick.tolist()) == str(expected.tolist())


def _of_kinds(signature: ModelSignature, kinds: list[Any]) -> ModelSignature:
    """Return a signature that passes values, with kinds where possible."""
    columns = [
        replace(
            column,
            kind=kind if kind in {"number": ("integer", "boolean"), "category": ("text",)}[column.type] else None,
        )
        for column, kind in zip(signature.inputs, kinds, strict=False)
    ]
    return replace(signature, inputs=tuple(columns), passes="values")


KIND = st.sampled_from([None, "integer", "boolean", "text"])
VALUE_SIGNATURE = st.builds(_of_kinds, SIGNATURE, st.lists(KIND, min_size=4, max_size=4))


@given(data=st.data(), signature=SIGNATURE | VALUE_SIGNATURE)
@settings(max_examples=200)
def test_json_is_read_as_by_the_long_way(data: st.DataObject, signature: ModelSignature) -> None:
    """Arrays and objects of anything give the same matrix, or use the general path."""
    names = [column.name for column in signature.inputs]
    array = st.lists(VALUE, min_size=len(names), max_size=len(names))
    whole = st.fixed_dictionaries(dict.fromkeys(names, VALUE))
    odd = st.one_of(VALUE, st.lists(VALUE, max_size=5), st.dictionaries(st.sampled_from("abcde"), VALUE))
    both(signature, data.draw(st.lists(st.one_of(array, whole, odd), min_size=1, max_size=4)), JSON)


@given(data=st.data(), signature=SIGNATURE)
@settings(max_examples=120)
def test_csv_is_read_as_by_the_long_way(data: st.DataObject, signature: ModelSignature) -> None:
    """For cells of anything."""
    width = len(signature.inputs)
    rows = st.lists(st.lists(CELL, min_size=width, max_size=width) | st.lists(CELL, max_size=5), min_size=1, max_size=4)
    both(signature, data.draw(rows), CSV)


def test_plain_requests_take_the_short_way(models: Any) -> None:
    """Otherwise the property above would be empty."""
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
    """It rejects them with its reason."""
    assert Quick(models.signature).json([[1, 1, "east"], row]) is None
    with pytest.raises(PayloadError):
        Reader(models.signature).rows([[1, 1, "east"], row])


def problems(content_type: str | None, body: bytes) -> tuple[int, tuple[str, ...]]:
    """Return status and problems of a rejected request."""
    with pytest.raises(PayloadError) as caught:
        parse(content_type, body, FIXED_SIGNATURE)
    return caught.value.status, caught.value.problems


@given(st.lists(ROW, min_size=1, max_size=5))
def test_objects_arrays_and_csv_give_the_same_matrix(rows: list[Any]) -> None:
    """The same rows in three formats reach the model as the same numbers."""
    names = [column.name for column in FIXED_SIGNATURE.inputs]
    objects = json.dumps({"instances": [dict(zip(names, row, strict=True)) for row in rows]}).encode()
    arrays = json.dumps({"instances": rows}).encode()
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    expected = np.array(
        [
            (price, np.nan if stock is None else stock, STORES.index(store) if store in STORES else -1)
            for price, stock, store in rows
        ],
        dtype=np.float32,
    )
    for kind, body in (
        ("application/json", objects),
        ("application/json", arrays),
        ("text/csv", text.getvalue().encode()),
    ):
        np.testing.assert_array_equal(parse(kind, body, FIXED_SIGNATURE), expected)


def test_a_nullable_column_may_be_absent() -> None:
    """A null number is NaN; an unknown category is -1."""
    body = b'{"instances": [{"price": 1, "store": "west"}]}'
    np.testing.assert_array_equal(parse("application/json; charset=utf-8", body, FIXED_SIGNATURE), [[1, np.nan, -1]])


def test_csv_may_end_with_blank_lines() -> None:
    """Trailing line endings of any kind are not rows."""
    assert parse("text/csv", b'1,2,"south, old"\r\n\r\n\n', FIXED_SIGNATURE).tolist() == [[1, 2, 1]]


def test_fails_with_every_problem_of_every_row() -> None:
    """All bad values are reported together with their columns."""
    body = b'{"instances": [{"price": "x", "store": 3}, {"price": null, "store": null}, {"price": true, "store": "north"}]}'
    assert problems("application/json", body) == (
        400,
        (
            "instances[0].price must be a number, got 'x'",
            "instances[2].price must be a number, got True",
            "instances[1].price must not be null",
            "instances[0].store must be text, got 3",
            "instances[1].store must not be null",
        ),
    )


def test_fails_for_bad_csv_values_with_row_and_column() -> None:
    """CSV problems name row and column."""
    assert problems("text/csv", b"1_0,inf,north\n,1,north\n1e39,,") == (
        400,
        (
            "row 0, column 'price' must be a number, got '1_0'",
            "row 1, column 'price' must not be null",
            "row 2, column 'price' must be finite as a 32-bit float, got '1e39'",
            "row 0, column 'stock' must be finite as a 32-bit float, got 'inf'",
            "row 2, column 'store' must not be null",
        ),
    )


def test_fails_for_an_unknown_column() -> None:
    """A misspelt nullable column would silently be null."""
    body = b'{"instances": [{"price": 1, "stok": 2, "store": "north"}]}'
    assert problems("application/json", body) == (400, ("instances[0]: unknown column 'stok'",))


def test_a_renamed_column_is_named_with_the_one_that_is_missing() -> None:
    """Both together; a nullable column may be absent."""
    body = b'{"instances": [{"price": 1, "store": "north"}, {"prize": 1, "store": "north"}]}'
    found = ("instances[1]: unknown column 'prize'", "instances[1]: column 'price' is missing")
    assert problems("application/json", body) == (400, found)


def test_fails_for_rows_of_the_wrong_width() -> None:
    """The expected columns are listed in their order."""
    assert problems("text/csv", b"1,2\n") == (400, ("row 0 must have 3 values (price, stock, store), got 2",))
    assert problems("application/json", b'{"instances": [[1]]}')[1] == (
        "instances[0] must have 3 values (price, stock, store), got 1",
    )


def test_fails_with_a_bounded_number_of_problems() -> None:
    """A million bad rows give twenty problems and a count."""
    _, found = problems("application/json", json.dumps({"instances": [7] * 1000}).encode())
    assert (len(found), found[-1]) == (21, "and 980 more")


def test_fails_with_bounded_values() -> None:
    """A long value is truncated in the response."""
    _, found = problems("application/json", json.dumps({"instances": ["x" * 100_000]}).encode())
    assert len(found[0]) < 200


@pytest.mark.parametrize(
    ("kind", "body", "status", "message"),
    [
        ("application/json", b"{", 400, "the body is not JSON"),
        ("application/json", b'{"instances": []}', 400, "at least one instance"),
        ("application/json", b"[1]", 400, "the body must be"),
        ("application/json", b'{"instances": [{"price": NaN}]}', 400, "the body is not JSON"),
        ("text/csv", b"", 400, "at least one CSV row"),
        ("text/csv", b"\xff", 400, "the body is not UTF-8"),
        ("text/csv", b'1,2,"x', 400, "the body is not CSV"),
        ("text/csv", b"1," * 2 + b"9" * 200_000, 400, "the body is not CSV: field larger"),
        ("application/x-npy", b"", 415, "content type must be application/json or text/csv, got 'application/x-npy'"),
        (None, b"", 415, "content type must be application/json or text/csv, got None"),
        ("text/csv; charset=latin-1", b"", 415, "charset must be utf-8, got 'latin-1'"),
    ],
)
def test_fails_for_what_is_no_request(kind: str | None, body: bytes, status: int, message: str) -> None:
    """Each invalid form has its status and message."""
    got_status, found = problems(kind, body)
    assert got_status == status
    assert message in found[0]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, (b'{"predictions":[0.1,2.0]}', "application/json")),
        ("*/*", (b'{"predictions":[0.1,2.0]}', "application/json")),
        ("text/csv", (b"0.1\n2.0\n", "text/csv; charset=utf-8")),
        ("image/png, text/csv;q=0.5", (b"0.1\n2.0\n", "text/csv; charset=utf-8")),
        ("application/json;q=0, text/csv", (b"0.1\n2.0\n", "text/csv; charset=utf-8")),
    ],
)
def test_responses_follow_accept(accept: str | None, expected: tuple[bytes, str]) -> None:
    """Both formats print the same shortest 32-bit numbers."""
    assert encode(np.array([0.1, 2], dtype=np.float32), accept) == expected


def test_fails_for_an_accept_that_cannot_be_met() -> None:
    """The 406 lists the available types."""
    with pytest.raises(PayloadError, match="accept must allow application/json or text/csv, got 'image/png'") as caught:
        encode(np.array([1], dtype=np.float32), "image/png")
    assert caught.value.status == 406


VALUES = ModelSignature(
    inputs=(
        SignatureColumn(name="amount", type="number", kind="integer"),
        SignatureColumn(name="is_new", type="number", kind="boolean", nullable=True),
        SignatureColumn(name="price", type="number", nullable=True),
        SignatureColumn(name="store", type="category", kind="integer", categories=("7", "11")),
        SignatureColumn(name="city", type="category", categories=("Oslo",), nullable=True),
    ),
    output="units",
    passes="values",
)
QUICK = [[20_000_001, True, 0.1, "11", "Bergen"], [-3, 0, None, "7", None]]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, orjson.dumps({"instances": QUICK})),
        (
            JSON,
            orjson.dumps(
                {"instances": [dict(zip([c.name for c in VALUES.inputs], row, strict=True)) for row in QUICK]}
            ),
        ),
        (JSON, orjson.dumps({"instances": [[20_000_001, 1, 0.1, 11, "Bergen"], [-3.0, False, None, 7, None]]})),
        (CSV, b"20000001,true,0.1,11,Bergen\n-3,0,,7,\n"),
    ],
)
def test_values_are_read_as_they_were_sent(kind: str, body: bytes) -> None:
    """64-bit numbers, and unlisted texts."""
    rows = parse(kind, body, VALUES).tolist()
    assert rows[0] == [20_000_001.0, 1.0, 0.1, "11", "Bergen"]
    assert rows[1][:2] + rows[1][3:] == [-3.0, 0.0, "7", None]
    assert np.isnan(rows[1][2])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 1.5, "amount must be an integer from -9007199254740992 to 9007199254740992, got 1.5"),
        (0, 1e17, "amount must be an integer from"),
        (0, True, "amount must be a number, got True"),
        (0, None, "amount must not be null"),
        (1, 2, "is_new must be true or false, got 2"),
        (1, "yes", "is_new must be true or false, got 'yes'"),
        (2, "x", "price must be a number, got 'x'"),
        (3, "seven", "store must be an integer, got 'seven'"),
        (3, 7.5, "store must be an integer, got 7.5"),
        (3, None, "store must not be null"),
        (4, 5, "city must be text, got 5"),
    ],
)
@pytest.mark.parametrize("passes", ["values", "codes"])
def test_fails_for_values_of_another_kind(column: int, value: object, message: str, passes: Any) -> None:
    """In every format."""
    row = [*QUICK[0][:column], value, *QUICK[0][column + 1 :]]
    with pytest.raises(PayloadError) as caught:
        Reader(replace(VALUES, passes=passes)).rows([row])
    assert caught.value.problems[0].startswith(f"instances[0].{message}")


def test_codes_of_columns_with_kinds_are_32_bit_floats() -> None:
    """The model's input does not depend on the allowed values of callers."""
    rows = Reader(replace(VALUES, passes=None)).rows([[3, True, None, 11, "Bergen"]])
    np.testing.assert_array_equal(rows, np.array([[3, 1, np.nan, 1, -1]], dtype=np.float32))
    assert rows.dtype == np.float32
