"""The API for callers, as OpenAPI: valid, and its schemas allow what API Gateway's do."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.runtime.inference_api.test_request_promise import SIGNATURES, rows_of

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.inference_api.open_api import current_schema, open_api
from mlops_runtime.inference_api.request_promise import request_schema

SIGNATURE = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")


def described(**changes: Any) -> dict[str, Any]:
    """What the construct writes of an API with three models, of which one has jobs."""
    model = {"schema": request_schema(SIGNATURE), "seconds": 29, "own_server": True, "has_jobs": False}
    models = {"forecast": model, "shelf-price": {**model, "own_server": False}, "night": {**model, "has_jobs": True}}
    return {
        "unit": "demand", "signs": True, "scope": None, "has_keys": False, "domain": None, "models": models, **changes,
    }  # fmt: skip


KINDS = {
    "signed": {},
    "token": {"signs": False, "scope": "models/predict", "domain": "models.example.com"},
    "both": {"scope": "models/predict", "has_keys": True},
    "keys": {"signs": False, "has_keys": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_document_is_open_api(kind: str) -> None:
    """Of every kind of callers, by a validator of others."""
    document = open_api(described(**KINDS[kind]))

    assert list(OpenAPIV31SpecValidator(json.loads(json.dumps(document))).iter_errors()) == []


@given(signature=SIGNATURES, data=st.data())
def test_both_dialects_allow_the_same(signature: ModelSignature, data: st.DataObject) -> None:
    """A client that is made of the document sends what API Gateway takes."""
    body = {"instances": rows_of(signature, data.draw)}
    schema = request_schema(signature, max_rows=3)
    current = current_schema(schema)
    jsonschema.Draft202012Validator.check_schema(current)

    # 7.0 is an integer of 2020-12 alone
    sent = json.loads(json.dumps(body), parse_float=lambda text: 0.5 if float(text) % 1 == 0 else float(text))
    assert jsonschema.Draft202012Validator(current).is_valid(sent) == jsonschema.Draft4Validator(schema).is_valid(sent)


def test_columns_may_be_named_like_keywords() -> None:
    """Their names stay."""
    names = ("items", "$schema", "additionalItems", "required")
    columns = tuple(SignatureColumn(name=name, type="number") for name in names)
    schema = current_schema(request_schema(ModelSignature(inputs=columns, output="units"), arrays=False))

    assert tuple(schema["properties"]["instances"]["items"]["properties"]) == names


def test_callers_find_paths_security_and_server() -> None:
    """Each kind of callers has its paths."""
    document = open_api(described(**KINDS["both"]))

    assert document["servers"][0]["url"].endswith(".amazonaws.com/live")
    assert document["paths"]["/v1/models/forecast/predictions"]["post"]["security"] == [{"signed": [], "key": []}]
    assert document["paths"]["/v1/token/models/forecast"]["get"]["security"] == [{"token": [], "key": []}]
    named = open_api(described(domain="models.example.com"))
    assert named["servers"] == [{"url": "https://models.example.com"}]


def test_only_our_server_is_known_to_answer_predictions() -> None:
    """A container of others may answer anything."""
    paths = open_api(described())["paths"]
    schemas = [
        paths[f"/v1/models/{name}/predictions"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        for name in ("forecast", "shelf-price")
    ]

    assert schemas[0]["required"] == ["predictions"]
    assert schemas[1] == {}
