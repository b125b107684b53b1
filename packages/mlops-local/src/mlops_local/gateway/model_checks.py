"""Validation of models: schemas that are not of draft-04, and keywords that API Gateway does not support.

https://docs.aws.amazon.com/apigateway/latest/developerguide/models-mappings-models.html
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft4Validator
from jsonschema.exceptions import SchemaError
from ministack.services import apigateway_v1 as v1

from mlops_local import compat

compat.expect(
    "ministack.services.apigateway_v1",
    _create_model="(api_id, data)",
    _update_model="(api_id, model_name, data)",
    _v1_error="(code, message, status)",
)

_KNOWN = frozenset(Draft4Validator.META_SCHEMA["properties"]) | {"$ref"}
# keywords whose members have user-defined names, or are schemas themselves
_NAMED = ("properties", "patternProperties", "definitions", "dependencies")
_INNER = ("items", "additionalItems", "additionalProperties", "allOf", "anyOf", "oneOf", "not")


def install() -> None:
    """Validate models on create and update."""
    create, update = v1._create_model, v1._update_model

    # claim: gateway-models-are-of-draft-4
    def create_model(api_id: str, data: Mapping[str, Any]) -> Any:
        found = problem(str(data.get("schema") or "{}"))
        return v1._v1_error("BadRequestException", found, 400) if found else create(api_id, data)

    # claim: gateway-models-are-of-draft-4
    def update_model(api_id: str, model_name: str, data: Mapping[str, Any]) -> Any:
        for operation in data.get("patchOperations") or ():
            found = problem(str(operation.get("value") or "{}")) if operation.get("path") == "/schema" else None
            if found:
                return v1._v1_error("BadRequestException", found, 400)
        return update(api_id, model_name, data)

    v1._create_model, v1._update_model = create_model, update_model


def problem(text: str) -> str | None:
    """Return why AWS rejects a model's schema, or ``None``.

    Args:
        text: The schema, as JSON.

    Example:
        >>> str(problem('{"type": "object", "examples": []}'))[-55:]
        'schema specified. Unsupported keyword(s): ["examples"]]'
    """
    try:
        schema = json.loads(text)
        Draft4Validator.check_schema(schema)
    except (ValueError, SchemaError):
        return _worded("")
    unknown = sorted(set(_unknown(schema)))
    return _worded(f". Unsupported keyword(s): {json.dumps(unknown)}") if unknown else None


def _worded(more: str) -> str:
    return f"Invalid model specified: Validation Result: warnings : [], errors : [Invalid model schema specified{more}]"


def _unknown(schema: Any) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    yield from (name for name in schema if name not in _KNOWN)
    inner = [value for name in _NAMED if isinstance(schema.get(name), dict) for value in schema[name].values()]
    for name in _INNER:
        given = schema.get(name)
        inner += given if isinstance(given, list) else [given]
    for each in inner:
        yield from _unknown(each)
