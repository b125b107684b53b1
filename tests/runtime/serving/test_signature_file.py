"""Hand-written signatures are checked for all problems, unknown keys included."""

import json
from typing import Any

import pytest

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.signature_file import read_signature, signature_text

PRICE = {"name": "price", "type": "number"}


def test_a_right_file_has_no_problem() -> None:
    """Everything in the contract is allowed."""
    price = SignatureColumn(name="price", type="number", nullable=True, kind="integer")
    signature = ModelSignature(inputs=(price,), output="units", kind="number", passes="values")
    assert read_signature(canonical_json(signature)) == (signature, [])


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "not a valid ModelSignature: $ must be an object"),
        ({"inputs": [PRICE]}, "$.output is missing"),
        ({"inputs": [PRICE], "output": "y", "pases": "values"}, "the file has no key 'pases' (did you mean 'passes'?), its keys"),
        ({"inputs": [PRICE], "output": "y", "x": 1}, "the file has no key 'x', its keys are inputs, output, kind, classes"),
        ({"inputs": [PRICE | {"nulls": True}], "output": "y"}, "inputs[0] ('price') has no key 'nulls' (did you mean 'nullable'?)"),
        ({"inputs": [{"type": "number", "nam": "a"}], "output": "y"}, "inputs[0] has no key 'nam' (did you mean 'name'?)"),
        ({"inputs": [PRICE | {"type": "category"}], "output": "y"}, "category column 'price' declares no categories; list those"),
        ({"inputs": [PRICE], "output": "y", "kind": "classes"}, "kind 'classes' must declare classes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(document: Any, problem: str) -> None:
    """With the known keys and the nearest one."""
    assert problem in "; ".join(read_signature(json.dumps(document).encode())[1])


def test_all_problems_are_said_at_once() -> None:
    """Also if the file is not a signature."""
    wrong = {"inputs": [{"name": "age", "type": "numeric", "nulable": True}], "outputs": ["y"], "output": 3}
    signature, problems = read_signature(json.dumps(wrong).encode())
    assert signature is None
    reported = signature_text(problems)
    assert reported.startswith(
        "signature.json: not a valid ModelSignature: $.inputs[0].type must be one of 'number', 'category'"
    )
    assert "$.output must be a string, got 3" in reported
    assert "inputs[0] ('age') has no key 'nulable' (did you mean 'nullable'?)" in reported


def test_one_mistake_in_several_columns_is_said_once() -> None:
    """With every column."""
    inputs = [{"name": name, "type": "category", "dtype": "str"} for name in ("a", "b")]
    assert read_signature(json.dumps({"inputs": inputs, "output": "y"}).encode())[1] == [
        "inputs[0] ('a'), inputs[1] ('b') have no key 'dtype' (did you mean 'type'?), a column's keys are name, type, categories, "
        "nullable, kind",
        "category columns 'a', 'b' declare no categories; list those that the model was trained with, "
        '"categories": ["a", "b"]',
    ]


def test_fails_for_what_is_not_json() -> None:
    """Unterminated brackets too."""
    assert read_signature(b"{")[1][0].startswith("not JSON: ")
    assert read_signature(b"[" * 100_000)[1][0].startswith("not JSON: ")
