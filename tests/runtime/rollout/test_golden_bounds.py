"""Requests at the bounds of a training set: each bound is there, rows are real, and the set can be used."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.rollout.golden_bounds import UNKNOWN, boundary_requests
from mlops_runtime.rollout.golden_set import read_set

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


def _instances(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    requests = boundary_requests(rows, SIGNATURE, minimum=0, maximum=150)
    assert all((request.minimum, request.maximum) == (0, 150) for request in requests)
    return {request.name: json.loads(request.body)["instances"] for request in requests}


@given(ROWS)
def test_every_bound_is_there(rows: list[dict[str, Any]]) -> None:
    """Of each number both ends, each category and one more, each nullable column null and all of them."""
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
    """It is read without a problem; no row is twice in a request, none has a column that the model does not take."""
    requests = boundary_requests(rows, SIGNATURE)
    content = b"".join(json.dumps(to_dict(request)).encode() + b"\n" for request in requests)
    assert list(read_set(content)) == requests == boundary_requests(rows, SIGNATURE)
    for request in requests:
        instances = json.loads(request.body)["instances"]
        assert all(set(row) == {"category", "sold", "price"} for row in instances)
        assert len({json.dumps(row, sort_keys=True) for row in instances}) == len(instances) == request.rows


def test_fails_without_rows_or_columns() -> None:
    """By name."""
    with pytest.raises(ValueError, match=r"rows must be one or more, each with 'category', 'sold', 'price'; got 0"):
        boundary_requests([], SIGNATURE)
    with pytest.raises(ValueError, match="got 1 without 'sold', 'price'"):
        boundary_requests([{"category": "a"}], SIGNATURE)
