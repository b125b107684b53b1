"""Schemas of models."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.gateway.conftest import Api, Front

from mlops_local.gateway.model_checks import problem

ROWS = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "required": ["instances"],
    "properties": {
        "instances": {"type": "array", "items": {"anyOf": [{"type": "object"}, {"type": "null"}]}},
        "examples": {},
    },
    "definitions": {"const": {"minimum": 0, "exclusiveMinimum": True}},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"properties": {"a": {"const": 1}, "b": {"items": {"examples": []}}}}, '["const", "examples"]'),
        ({"$id": "x"}, '["$id"]'),
        ({"minimum": 0, "exclusiveMinimum": 0}, "Invalid model schema specified]"),
        ({"required": []}, "Invalid model schema specified]"),
        ({"enum": ["a", "a"]}, "Invalid model schema specified]"),
    ],
)
def test_a_schema_of_a_later_draft_is_refused(change: dict[str, Any], words: str) -> None:
    """Names of properties and definitions are not keywords."""
    found = problem(json.dumps({**ROWS, **change}))
    assert found is None if not words else words in (found or "")


def test_a_model_is_refused_when_it_is_made_or_changed(front: Front, make_api: Callable[..., Api]) -> None:
    """The earlier model stays."""
    api, client = make_api(), front.gateway
    given = {"restApiId": api.id, "name": "Rows", "contentType": "application/json"}
    with pytest.raises(ClientError, match="Unsupported keyword"):
        client.create_model(**given, schema='{"const": 1}')
    client.create_model(**given, schema=json.dumps(ROWS))
    patch = [{"op": "replace", "path": "/schema", "value": "{"}]
    with pytest.raises(ClientError, match="Invalid model schema specified"):
        client.update_model(restApiId=api.id, modelName="Rows", patchOperations=patch)
    assert json.loads(client.get_model(restApiId=api.id, modelName="Rows")["schema"]) == ROWS
