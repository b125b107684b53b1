"""Validation of an API's definition: integrations, their responses and models that AWS rejects, or that are not supported here.

Models are schemas of draft-04, without the keywords that API Gateway does not support:
https://docs.aws.amazon.com/apigateway/latest/developerguide/models-mappings-models.html
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft4Validator
from jsonschema.exceptions import SchemaError
from ministack.services import apigateway_v1 as v1

from mlops_local.gateway.service_integrations import SERVICES, service_uri

Properties = dict[str, Any]
_KNOWN = frozenset(Draft4Validator.META_SCHEMA["properties"]) | {"$ref"}
# keywords whose members have user-defined names, or are schemas themselves
_NAMED = ("properties", "patternProperties", "definitions", "dependencies")
_INNER = ("items", "additionalItems", "additionalProperties", "allOf", "anyOf", "oneOf", "not")


def install() -> None:
    """Add AWS's validation, and store the members that MiniStack drops."""
    integrate, respond = v1._put_integration, v1._put_integration_response

    # claim: gateway-needs-a-role-for-services
    def put_integration(api_id: str, resource_id: str, http_method: str, data: Properties) -> Any:
        problem = integration_problem(data)
        if problem:
            return v1._v1_error("BadRequestException", problem, 400)
        answer = integrate(api_id, resource_id, http_method, data)
        found = method(api_id, resource_id, http_method).get("methodIntegration")
        if found is not None:
            found |= {name: data[name] for name in ("connectionId", "integrationTarget") if data.get(name)}
        return answer

    # claim: gateway-responses-are-declared
    def put_integration_response(api_id: str, resource_id: str, http_method: str, code: str, data: Properties) -> Any:
        problem = response_problem(method(api_id, resource_id, http_method), code, data)
        if problem:
            return v1._v1_error("BadRequestException", problem, 400)
        return respond(api_id, resource_id, http_method, code, data)

    v1._put_integration, v1._put_integration_response = put_integration, put_integration_response
    _check_models()


def integration_problem(data: Mapping[str, Any]) -> str | None:
    """Return why AWS rejects an integration, or the embedded cloud does not support it; ``None`` if valid.

    Example:
        >>> integration_problem({"type": "AWS", "uri": "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord"})[:48]
        'the embedded cloud has no integration with kines'
    """
    # claim: gateway-needs-a-role-for-services
    if data.get("type") != "AWS":
        return None
    uri = data.get("uri") or ""
    spec = v1._parse_service_integration_uri(uri)
    service = spec[1] if spec else ""
    if service not in {*SERVICES, "lambda", "sqs"}:
        return f"the embedded cloud has no integration with {service or uri}; it has {', '.join([*SERVICES, 'sqs', 'lambda'])}"
    if service in SERVICES and service_uri(uri) is None:
        return f"the embedded cloud reaches {service} by path, got {uri}; write {service}:path/..."
    if service in SERVICES and ":role/" not in (data.get("credentials") or ""):
        return "Role ARN must be specified for AWS integrations"
    return None


def response_problem(owner: Mapping[str, Any], code: str, data: Mapping[str, Any]) -> str | None:
    """Return why AWS rejects an integration response, or ``None``."""
    # claim: gateway-responses-are-declared
    declared = (owner.get("methodResponses") or {}).get(code)
    known = (declared or {}).get("responseParameters") or {}
    unknown = [target for target in data.get("responseParameters") or {} if target not in known]
    if declared is None:
        wrong = "No method response exists for method."
    elif unknown:
        wrong = ", ".join(f"Invalid mapping expression parameter specified: {target}" for target in unknown)
    else:
        return None
    return f"Invalid mapping expression specified: Validation Result: warnings : [], errors : [{wrong}]"


def method(api_id: str, resource_id: str, http_method: str) -> Properties:
    """Return the record of a method; empty if it does not exist."""
    resource = v1._resources.get(api_id, {}).get(resource_id) or {}
    found: Properties = resource.get("resourceMethods", {}).get(http_method) or {}
    return found


def _check_models() -> None:
    """Validate models on create and update."""
    create, update = v1._create_model, v1._update_model

    # claim: gateway-models-are-of-draft-4
    def create_model(api_id: str, data: Mapping[str, Any]) -> Any:
        found = model_problem(str(data.get("schema") or "{}"))
        return v1._v1_error("BadRequestException", found, 400) if found else create(api_id, data)

    # claim: gateway-models-are-of-draft-4
    def update_model(api_id: str, model_name: str, data: Mapping[str, Any]) -> Any:
        for operation in data.get("patchOperations") or ():
            found = model_problem(str(operation.get("value") or "{}")) if operation.get("path") == "/schema" else None
            if found:
                return v1._v1_error("BadRequestException", found, 400)
        return update(api_id, model_name, data)

    v1._create_model, v1._update_model = create_model, update_model


def model_problem(text: str) -> str | None:
    """Return why AWS rejects a model's schema, as JSON, or ``None``.

    Example:
        >>> str(model_problem('{"type": "object", "examples": []}'))[-55:]
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
