"""Messages of body validation."""

import json
from typing import Any

import pytest

from mlops_local.gateway.schema_problems import text

TYPE = "instance type ({}) does not match any allowed primitive type (allowed: [{}])"


@pytest.mark.parametrize(
    ("schema", "body", "words"),
    [
        ({"required": ["b", "a"]}, {}, 'object has missing required properties (["a","b"])'),
        ({"type": ["number", "integer"]}, "x", TYPE.format("string", '"integer","number"')),
        ({"type": "string"}, True, TYPE.format("boolean", '"string"')),
        ({"type": "string"}, None, TYPE.format("null", '"string"')),
        ({"additionalProperties": False}, {"z": 1}, 'object instance has properties which are not allowed by the schema: ["z"]'),
        ({"minItems": 1}, [], "array is too short: must have at least 1 elements but instance has 0 elements"),
        ({"maxItems": 1}, [1, 2], "array is too long: must have at most 1 elements but instance has 2 elements"),
        ({"minimum": 0}, -1, "numeric instance is lower than the required minimum (minimum: 0, found: -1)"),
        ({"maximum": 0}, 1, "numeric instance is greater than the required maximum (maximum: 0, found: 1)"),
        ({"enum": ["a"]}, "b", 'instance value ("b") not found in enum (possible values: ["a"])'),
        ({"pattern": "^a"}, "b", "instance failed to match pattern"),
    ],
)  # fmt: skip
def test_each_problem_has_its_words(schema: dict[str, Any], body: Any, words: str) -> None:
    """Those of API Gateway's validation library."""
    assert text(schema, json.dumps(body).encode()) == f"[{words}]"


def test_problems_are_named_once_and_not_without_end() -> None:
    """Of 1,000 wrong rows one problem is reported."""
    schema = {"items": {"type": "object"}}
    assert text(schema, json.dumps([1] * 1000).encode()).count("instance type") == 1


@pytest.mark.parametrize(("schema", "body"), [({}, b"{"), (None, b"{}"), ({"$ref": "https://x.example/m"}, b"{}")])
def test_what_cannot_be_explained_is_still_text(schema: Any, body: bytes) -> None:
    """Bodies that are not JSON, missing or remote schemas; nothing is fetched."""
    assert text(schema, body).startswith("[")
