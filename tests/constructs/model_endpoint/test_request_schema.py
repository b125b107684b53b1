"""The request schema of an API, as a stack reads it."""

import json
from pathlib import Path

import pytest

from mlops_constructs import RequestSchema, ValidationError
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.inference_api.request_promise import request_schema

PRICE = SignatureColumn(name="price", type="number")
PROMO = SignatureColumn(name="promotion", type="number", nullable=True)


def test_a_file_is_read(tmp_path: Path) -> None:
    """The schema keeps its file's name for messages."""
    path = tmp_path / "forecast.schema.json"
    path.write_text(json.dumps(request_schema(ModelSignature(inputs=(PRICE,), output="units"), max_rows=7)))

    read = RequestSchema.from_file(str(path))

    assert (read.name, read.promise.max_rows) == ("forecast.schema.json", 7)


@pytest.mark.parametrize(
    ("arrays", "body"), [(True, '{"instances":[[0,0],[0,0]]}'), (False, '{"instances":[{"price":0},{"price":0}]}')]
)
def test_the_smallest_body_of_all_rows(arrays: bool, body: str, tmp_path: Path) -> None:
    """Returns the minimum size of a body with that number of rows."""
    path = tmp_path / "forecast.schema.json"
    signature = ModelSignature(inputs=(PRICE, PROMO), output="units")
    path.write_text(json.dumps(request_schema(signature, max_rows=2, arrays=arrays)))

    assert RequestSchema.from_file(path).smallest_body == len(body)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "path must be a file that mlops api schema has written, got"),
        ("{}", "is not a promise of requests"),
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
    ],
)
def test_what_is_no_promise_is_refused(content: str | None, problem: str, tmp_path: Path) -> None:
    """Rejects a missing file too."""
    path = tmp_path / "forecast.schema.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ValidationError, match=problem):
        RequestSchema.from_file(path)


@pytest.mark.parametrize("value", [object(), {1, 2}])
def test_a_schema_is_json(value: object) -> None:
    """The error names the type of another value."""
    with pytest.raises(ValidationError, match="schema must be JSON: Object of type"):
        RequestSchema(name="forecast.schema.json", schema={"type": value})
