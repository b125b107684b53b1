"""Integrations, responses and models that AWS rejects."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.gateway.conftest import Api, Front

from mlops_local.gateway.definition_checks import integration_problem, model_problem, response_problem

MAPPED = {"responseParameters": {"method.response.header.X-A": "'a'"}}
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


def test_an_undeclared_response_is_refused(make_api: Callable[..., Api], front: Front) -> None:
    """An undeclared status or header."""
    assert "No method response exists" in (response_problem({"methodResponses": {}}, "200", {}) or "")
    assert "method.response.header.X-A" in (response_problem({"methodResponses": {"200": {}}}, "200", MAPPED) or "")
    declared = {"200": {"responseParameters": {"method.response.header.X-A": False}}}
    assert response_problem({"methodResponses": declared}, "200", MAPPED) is None
    api = make_api()
    resource = api.method("/x", {}, type="MOCK")
    with pytest.raises(ClientError, match="Invalid mapping expression specified"):
        front.gateway.put_integration_response(
            restApiId=api.id, resourceId=resource, httpMethod="POST", statusCode="200"
        )


def test_functions_and_queues_need_no_role_of_ours() -> None:
    """MiniStack handles them."""
    for service in ("lambda:path/2015-03-31/functions/arn/invocations", "sqs:path/000000000000/queue"):
        assert integration_problem({"type": "AWS", "uri": f"arn:aws:apigateway:us-east-1:{service}"}) is None
    assert integration_problem({"type": "MOCK"}) is None
    assert "by path" in (
        integration_problem({"type": "AWS", "uri": "arn:aws:apigateway:us-east-1:s3:action/GetObject"}) or ""
    )


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
    found = model_problem(json.dumps({**ROWS, **change}))
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
