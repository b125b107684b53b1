"""Requests at the bounds of a training set: every bound is included, rows are real, and the set is valid.

The golden set is read whole, or rejected with all problems and their lines.
"""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime import kinds

from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.serving import GoldenRequest
from mlops_runtime.rollout.golden_set import (
    MAXIMUM_REQUESTS,
    MAXIMUM_ROWS,
    UNKNOWN,
    GoldenSetError,
    boundary_requests,
    media_type,
    read_set,
    single_bodies,
    turned,
    verified_set,
)

SIGNATURE = ModelSignature(
    inputs=(
        SignatureColumn(name="category", type="category", categories=("a", "b", "c")),
        SignatureColumn(name="sold", type="number"),
        SignatureColumn(name="price", type="number", nullable=True),
    ),
    output="units",
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "category": st.sampled_from("abc"),
            "sold": st.integers(0, 200),
            "price": st.none() | st.floats(0, 9),
            "store_id": st.just("309"),
        }
    ),
    min_size=1,
    max_size=30,
)


TYPICAL = {"name": "typical", "body": '{"instances": [[1.5], [2]]}', "rows": 2, "minimum": 0, "maximum": 9}


def _instances(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    requests = boundary_requests(rows, SIGNATURE, minimum=0, maximum=150)
    assert all((request.minimum, request.maximum) == (0, 150) for request in requests)
    return {request.name: json.loads(request.body)["instances"] for request in requests}


@given(ROWS)
def test_every_bound_is_there(rows: list[dict[str, Any]]) -> None:
    """Both ends of each number, each category and an unknown one, each nullable column null, and all of them null."""
    found = _instances(rows)
    for name in ("sold", "price"):
        known = [row[name] for row in rows if row[name] is not None]
        if known:
            assert min(known) in [row[name] for row in found["numbers at their minimum"]]
            assert max(known) in [row[name] for row in found["numbers at their maximum"]]
    assert {row["category"] for row in found["categories"]} == {row["category"] for row in rows} | {UNKNOWN}
    assert [row["price"] for row in found["nulls"]] == [None]
    sent = [{name: row[name] for name in ("category", "sold", "price")} for row in rows]
    assert all(row in sent for name, part in found.items() if name.startswith("numbers") for row in part)


@given(ROWS)
def test_the_set_can_be_used_and_follows_from_the_rows(rows: list[dict[str, Any]]) -> None:
    """It has no problem, no duplicate row in a request, and no column that the model lacks."""
    requests = boundary_requests(rows, SIGNATURE)
    content = b"".join(json.dumps(to_dict(request)).encode() + b"\n" for request in requests)
    assert list(read_set(content)) == requests == boundary_requests(rows, SIGNATURE)
    for request in requests:
        instances = json.loads(request.body)["instances"]
        assert all(set(row) == {"category", "sold", "price"} for row in instances)
        assert len({json.dumps(row, sort_keys=True) for row in instances}) == len(instances) == request.rows


def test_each_category_has_bounds_of_its_own() -> None:
    """In a row of the upper quarter, within a factor of its expected value; an unknown category has none."""
    rows = [
        {"category": name, "sold": sold, "price": 1.0, "store_id": "1"}
        for name, most in (("b", 8), ("a", 40))
        for sold in range(most + 1)
    ]
    requests = boundary_requests(rows, SIGNATURE, minimum=0, expected=lambda row: float(str(row["sold"])), factor=4)
    bounded = [request for request in requests if request.row_minimums is not None]
    assert [request.name for request in bounded] == ["categories"]
    (request,) = bounded
    sent = [(row["category"], row["sold"]) for row in json.loads(request.body)["instances"]]
    assert sent == [("a", 30), ("b", 6), (UNKNOWN, 0)]
    assert (request.row_minimums, request.row_maximums) == ((7.5, 1.5, None), (120.0, 24.0, None))
    assert read_set(json.dumps(to_dict(request)).encode()) == (request,)
    with pytest.raises(ValueError, match=r"factor must be 1 or more, got 0\.5"):
        boundary_requests(rows, SIGNATURE, expected=lambda _: 1.0, factor=0.5)


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
def test_bounds_turn_with_their_rows(kind: str) -> None:
    """A row keeps its bounds in any order of rows."""
    body = "1\n2\n3\n" if kind == "text/csv" else '{"instances": [[1], [2], [3]]}'
    request = GoldenRequest(name="n", body=body, rows=3, content_type=kind, row_minimums=(1.0, None, 3.0))
    again = turned(request, 1)
    assert (again.row_minimums, again.row_maximums) == ((3.0, 1.0, None), None)
    assert turned(request, 0) == turned(request, 3) == request


@pytest.mark.parametrize("bounds", [[1], [1, 2, 3], [1, float("nan")], []])
def test_fails_for_bounds_that_are_not_of_each_row(bounds: list[float]) -> None:
    """Rejects too few, too many and non-numeric bounds."""
    line = json.dumps(TYPICAL | {"row_minimums": bounds}).encode()
    with pytest.raises(
        GoldenSetError, match="line 1: row_minimums must have a finite number or null for each of 2 rows"
    ):
        read_set(line)


def test_fails_without_rows_or_columns() -> None:
    """The error names them."""
    with pytest.raises(ValueError, match=r"rows must be one or more, each with 'category', 'sold', 'price'; got 0"):
        boundary_requests([], SIGNATURE)
    with pytest.raises(ValueError, match="got 1 without 'sold', 'price'"):
        boundary_requests([{"category": "a"}], SIGNATURE)


def lines(*documents: dict[str, Any]) -> bytes:
    """Return the bytes of a set."""
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def problems(content: bytes) -> tuple[str, ...]:
    """Return the problems of a set."""
    with pytest.raises(GoldenSetError) as caught:
        read_set(content)
    return caught.value.problems


def test_a_set_is_read_in_its_order():
    """Blank lines are skipped; bounds and content type are optional."""
    csv = {"name": "csv", "body": "1,a\n2,b\n", "rows": 2, "content_type": "text/csv"}
    own = {"name": "own", "body": '{"inputs": 3}', "rows": 7}
    first, second, third = read_set(lines(TYPICAL) + b"\n" + lines(csv, own))
    assert (first.minimum, first.maximum, first.content_type) == (0.0, 9.0, "application/json")
    assert (second.name, second.minimum, third.rows) == ("csv", None, 7)


def test_every_problem_of_every_line_at_once():
    """All problems of all lines are reported together."""
    content = lines(
        {"name": "typical", "rows": "two"},
        {**TYPICAL, "minumum": 3},
        {**TYPICAL, "name": "", "rows": 3, "minimum": 5, "maximum": 1, "content_type": "json"},
        TYPICAL,
        TYPICAL,
    )
    assert problems(content + b"not json\n") == (
        "line 1: not a valid GoldenRequest: $.body is missing; $.rows must be an integer, got 'two'",
        "line 2: unknown field 'minumum'; allowed are name, body, rows, content_type, minimum, maximum, columns, minimums, "
        "maximums, row_minimums, row_maximums",
        "line 3: name must be 1 to 64 printable characters, got ''",
        "line 3: minimum must not exceed maximum, got 5.0 > 1.0",
        "line 3: content_type must name a type such as application/json, got 'json'",
        "line 6: Expecting value: line 1 column 1 (char 0)",
        "line 5: name must be unique, got 'typical' as in line 4",
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rows": 3}, "body must have the number of rows in the field rows, got 2 and 3; correct rows"),
        ({"rows": 0}, "rows must be 1 or more, got 0"),
        ({"body": ""}, "body must be 1 to 6291456 bytes, got 0"),
        ({"body": "{"}, "body must be of type application/json, got '{'"),
        ({"body": '1,"a', "content_type": "text/csv"}, "body must be of type text/csv"),
        ({"minimum": float("-inf")}, "minimum and maximum must be finite, got -inf and 9.0; leave out a missing bound"),
        ({"name": "a\nb"}, r"name must be 1 to 64 printable characters, got 'a\nb'"),
        ({"body": "x" * 6_291_457, "content_type": "text/plain"}, "body must be 1 to 6291456 bytes, got 6291457"),
    ],
)
def test_a_request_that_cannot_be_sent_or_judged_is_refused(changes: dict[str, Any], problem: str):
    """Each error has the value and the allowed values."""
    assert any(problem in found for found in problems(lines(TYPICAL | changes)))


def test_the_set_has_bounds_of_its_own():
    """The set must fit one run of a function."""
    assert problems(b"\n") == ("the golden set must have at least one request, got none",)
    assert problems(b"\xff") == ("the golden set must be UTF-8, got invalid start byte at byte 0",)
    many = [{**TYPICAL, "name": f"n{i}"} for i in range(MAXIMUM_REQUESTS + 1)]
    assert problems(lines(*many)) == ("the golden set must have at most 100 requests, got 101",)
    wide = {"name": "wide", "body": "1\n" * (MAXIMUM_ROWS + 1), "rows": MAXIMUM_ROWS + 1, "content_type": "text/csv"}
    assert problems(lines(wide)) == ("the golden set must have at most 1000 rows, got 1001; each is also sent alone",)


def test_other_bytes_than_the_specs_are_refused():
    """The hash covers the bytes, so a changed space is another set."""
    content = lines(TYPICAL)
    digest = hashlib.sha256(content).hexdigest()
    assert [request.name for request in verified_set(content, digest)] == ["typical"]
    with pytest.raises(GoldenSetError, match=f"must have the SHA-256 {digest} of the spec, got "):
        verified_set(content + b"\n", digest)


def test_rows_of_unknown_formats_stay_together():
    """A single row cannot be split, and in an unknown format rows are not recognised."""
    assert single_bodies(GoldenRequest(name="n", body='{"instances": [[1]]}', rows=1)) == ()
    assert single_bodies(GoldenRequest(name="n", body='{"inputs": [1, 2]}', rows=2)) == ()
    assert single_bodies(GoldenRequest(name="n", body="1;2", rows=2, content_type="text/x")) == ()
    quoted = GoldenRequest(name="n", body='1,"a, b"\n2,"c\nd"\n', rows=2, content_type="Text/CSV; charset=utf-8")
    assert single_bodies(quoted) == ('1,"a, b"\n', '2,"c\nd"\n')
    assert media_type(quoted.content_type) == "text/csv"


@given(st.lists(st.dictionaries(st.text(max_size=4), st.floats(allow_nan=False) | st.none() | st.text(max_size=4))))
def test_single_bodies_hold_the_rows_in_their_order(rows: list[dict[str, Any]]):
    """Nothing is lost or moved, whatever fields are next to the rows."""
    request = GoldenRequest(name="n", body=json.dumps({"instances": rows, "signature": "s"}), rows=len(rows))
    singles = [json.loads(body) for body in single_bodies(request)]
    if len(rows) > 1:
        assert [single["instances"] for single in singles] == [[row] for row in rows]
        assert {single["signature"] for single in singles} == {"s"}
    else:
        assert singles == []


@given(
    st.lists(st.integers(), min_size=1, max_size=9),
    st.integers(0, 20),
    st.sampled_from(["text/csv", "application/json"]),
)
def test_turned_rows_are_the_same_rows(rows: list[int], by: int, kind: str):
    """The last ones come first; rotating by the rest restores the request."""
    body = json.dumps({"instances": rows, "x": 1}) if kind != "text/csv" else "".join(f"{row}\n" for row in rows)
    request = GoldenRequest(name="n", body=body, rows=len(rows), content_type=kind)
    now = turned(request, by)
    assert sorted(single_bodies(now)) == sorted(single_bodies(request))
    if len(rows) > 1 and by % len(rows):
        assert single_bodies(now)[by % len(rows)] == single_bodies(request)[0]
    assert turned(now, len(rows) - by % len(rows)) == request


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_the_bytes_they_are_read_or_refused(content: bytes):
    """No other error is raised."""
    try:
        assert read_set(content)
    except GoldenSetError as error:
        assert error.problems


def test_requests_of_a_list_a_row_know_its_columns_and_bounds() -> None:
    """A class probability lies from 0 to 1; each output has its own bounds."""
    rows = kinds.wine().slice(0, 20).to_pylist()
    found = boundary_requests(rows, kinds.signature("classes"))
    assert {(each.columns, each.minimum, each.maximum) for each in found} == {(3, 0.0, 1.0)}
    men = kinds.men().slice(0, 20).to_pylist()
    found = boundary_requests(men, kinds.signature("numbers"), minimums=(50, 20), maximums=(150, 60))
    assert {(each.columns, each.minimums, each.maximum) for each in found} == {(2, (50, 20), None)}
    assert list(read_set(b"\n".join(map(canonical_json, found)))) == found


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"columns": 0}, "columns must be 1 or more, got 0; leave it out"),
        ({"columns": 2, "minimums": [1.0]}, "minimums must have a finite number for each of columns (2), got [1.0]"),
        ({"maximums": [1.0]}, "maximums must have a finite number for each of columns (None), got [1.0]"),
    ],
)
def test_fails_for_bounds_that_are_not_of_the_columns(fields: dict[str, object], problem: str) -> None:
    """The error lists the columns."""
    line = json.dumps({"name": "a", "body": '{"instances": [[1]]}', "rows": 1, **fields}).encode()
    with pytest.raises(GoldenSetError) as raised:
        read_set(line)
    assert problem in str(raised.value)


def test_an_unknown_integer_is_an_integer() -> None:
    """The server rejects text in a category of integers."""
    store = SignatureColumn(name="store", type="category", kind="integer", categories=("9", "31"))
    signature = ModelSignature(inputs=(store,), output="units")
    sent = [json.loads(request.body)["instances"] for request in boundary_requests([{"store": 9}], signature)]
    assert [row["store"] for rows in sent for row in rows] == [9, 32]
