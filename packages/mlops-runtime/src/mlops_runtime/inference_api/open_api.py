"""OpenAPI 3.1 document of a unit's API, generated from what the construct writes to its template.

Schemas in OpenAPI 3.1 are JSON Schema 2020-12, those of API Gateway draft-04.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mlops_runtime.inference_api.job_names import JOB_ID

# metadata key of the API's resource in the template, with the API's value objects
METADATA = "mlops-constructs:InferenceApi"
STAGE = "live"

_JSON, _PROBLEM = "application/json", "application/problem+json"
_SIGNED, _TOKEN, _KEY = "signed", "token", "key"
_REFUSALS = {
    "400": "The body violates the schema, or the model rejects a row; problems has the reasons.",
    "401": "The token is missing, has expired, or lacks the scope.",
    "403": "The caller is not allowed, or the body is larger than the API accepts.",
    "413": "The body is larger than 10 MB.",
    "415": "The body is not application/json.",
    "429": "There are more calls than the model or the plan allows.",
    "502": "The model failed on this request.",
    "503": "No model is served now.",
    "504": "The model did not respond in time; it may have counted the call.",
}


def open_api(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document of an API.

    Args:
        described: The value under `METADATA` in its template.

    Example:
        >>> api = {"unit": "demand", "signs": True, "scope": None, "has_keys": False, "domain": None, "models": {}}
        >>> open_api(api)["info"]["title"]
        'Models of demand'
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Models of {described['unit']}",
            "version": "1",
            "description": "Predictions. X-Inference-Id of a response is the id for sending its labels.",
        },
        "servers": [_server(described["domain"])],
        "paths": {
            path: item
            for tree, scheme in _trees(described)
            for name, model in described["models"].items()
            for path, item in _paths(tree, name, model, _security(described, scheme), is_token=scheme == _TOKEN)
        },
        "components": {"securitySchemes": dict(_schemes(described)), "schemas": {"Problem": _problem()}},
    }


def current_schema(schema: Any) -> Any:
    """Convert a schema of draft-04 to 2020-12, where items by position have another name.

    Example:
        >>> current_schema({"type": "array", "items": [{"type": "null"}], "additionalItems": False})
        {'type': 'array', 'prefixItems': [{'type': 'null'}], 'items': False}
    """
    if not isinstance(schema, dict):
        return [current_schema(each) for each in schema] if isinstance(schema, list) else schema
    found: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "properties":  # column names, which may equal keywords
            found[name] = {column: current_schema(each) for column, each in value.items()}
        elif name == "items" and isinstance(value, list):
            found["prefixItems"] = current_schema(value)
            found["items"] = schema.get("additionalItems", True)
        elif name in ("required", "enum"):
            found[name] = value
        elif name not in ("$schema", "additionalItems"):
            found[name] = current_schema(value)
    return found


def _server(domain: str | None) -> dict[str, Any]:
    if domain is not None:
        return {"url": f"https://{domain}"}
    return {
        "url": f"https://{{api}}.execute-api.{{region}}.amazonaws.com/{STAGE}",
        "variables": {
            "api": {"default": "api-id", "description": "Id of the API."},
            "region": {"default": "us-east-1"},
        },
    }


def _trees(described: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return the path prefixes of models, each with the security scheme of its callers in addition to a key."""
    if described["signs"]:
        signed: list[tuple[str, str | None]] = [("/v1/models", _SIGNED)]
        return [*signed, ("/v1/token/models", _TOKEN)] if described["scope"] is not None else signed
    return [("/v1/models", None if described["scope"] is None else _TOKEN)]


def _schemes(described: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if described["signs"]:
        yield (
            _SIGNED,
            {
                "type": "apiKey",
                "name": "Authorization",
                "in": "header",
                "description": "AWS Signature Version 4 for the service execute-api.",
                "x-amazon-apigateway-authtype": "awsSigv4",
            },
        )
    if described["scope"] is not None:
        words = f"Access token of the user pool with the scope {described['scope']}."
        yield _TOKEN, {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": words}
    if described["has_keys"]:
        yield _KEY, {"type": "apiKey", "name": "x-api-key", "in": "header"}


def _security(described: Mapping[str, Any], scheme: str | None) -> list[dict[str, list[str]]]:
    named = [*([] if scheme is None else [scheme]), *([_KEY] if described["has_keys"] else [])]
    return [{name: [] for name in named}]


def _paths(
    tree: str, name: str, model: Mapping[str, Any], security: list[dict[str, list[str]]], *, is_token: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    suffix = f"{name.replace('-', '_')}{'_by_token' if is_token else ''}"
    refusals = {status: _refusal(words) for status, words in _REFUSALS.items() if is_token or status != "401"}
    if model["has_jobs"]:
        yield from _jobs(f"{tree}/{name}/jobs", name, suffix=suffix, model=model, security=security, refusals=refusals)
    else:
        yield _predictions_path(
            f"{tree}/{name}/predictions", name, suffix=suffix, model=model, security=security, refusals=refusals
        )
    described = {"type": "object", "required": ["model", "content_types", "request"]}
    shown = {"description": "Its name, and the JSON schema of its requests.", "content": {_JSON: {"schema": described}}}
    yield (
        f"{tree}/{name}",
        {
            "get": {
                "operationId": f"show_{suffix}",
                "summary": f"Show the requests that {name} accepts",
                "security": security,
                "responses": {"200": shown, **_only(refusals, "401", "403", "415", "429")},
            }
        },
    )


def _predictions_path(
    path: str,
    name: str,
    *,
    suffix: str,
    model: Mapping[str, Any],
    security: list[dict[str, list[str]]],
    refusals: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    return (
        path,
        {
            "post": {
                "operationId": f"predict_{suffix}",
                "summary": f"Request predictions of {name}, one per row",
                "description": f"Responds within {model['seconds']:g} seconds, or with an error.",
                "security": security,
                "requestBody": {"required": True, "content": {_JSON: {"schema": current_schema(model["schema"])}}},
                "responses": {
                    "200": {
                        "description": "The predictions, in the order of the rows.",
                        "headers": {
                            "X-Inference-Id": {"required": True, "schema": {"type": "string"}},
                            "X-Model-Version": {"schema": {"type": "string"}},
                        },
                        "content": {_JSON: {"schema": _predictions() if model["own_server"] else {}}},
                    },
                    **refusals,
                },
            }
        },
    )


def _jobs(
    path: str,
    name: str,
    *,
    suffix: str,
    model: Mapping[str, Any],
    security: list[dict[str, list[str]]],
    refusals: Mapping[str, Any],
) -> Iterator[tuple[str, dict[str, Any]]]:
    job = {
        "type": "object",
        "required": ["id", "status"],
        "properties": {"id": {"type": "string", "pattern": f"^{JOB_ID}$"}, "status": {"const": "running"}},
    }
    waits = {"content": {_JSON: {"schema": job}}}
    yield (
        path,
        {
            "post": {
                "operationId": f"submit_{suffix}",
                "summary": f"Submit a job to {name}, of up to 10 MB",
                "security": security,
                "requestBody": {"required": True, "content": {_JSON: {"schema": current_schema(model["schema"])}}},
                "responses": {
                    "202": {"description": "The job is accepted.", **waits},
                    **_only(refusals, "400", "401", "403", "413", "415", "429", "503", "504"),
                },
            }
        },
    )
    given = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{JOB_ID}$"}}
    answered = {"content": {_JSON: {"schema": _predictions() if model["own_server"] else {}}}}
    retry = {"Retry-After": {"required": True, "schema": {"type": "string"}}}
    yield (
        f"{path}/{{id}}",
        {
            "get": {
                "operationId": f"read_{suffix}",
                "summary": f"Read a job of {name}",
                "security": security,
                "parameters": [given],
                "responses": {
                    "200": {"description": "The predictions, in the order of the rows.", **answered},
                    "202": {"description": "The job is running, or the id does not exist.", "headers": retry, **waits},
                    "404": _refusal("The id is not valid."),
                    **_only(refusals, "401", "403", "415", "429", "503", "504"),
                    "502": _refusal("The job failed."),
                },
            }
        },
    )


def _only(refusals: Mapping[str, Any], *statuses: str) -> dict[str, Any]:
    return {status: refusal for status, refusal in refusals.items() if status in statuses}


def _refusal(words: str) -> dict[str, Any]:
    return {"description": words, "content": {_PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def _predictions() -> dict[str, Any]:
    number = {"type": "number"}
    rows = {"type": "array", "items": {"anyOf": [number, {"type": "array", "items": number}]}}
    return {"type": "object", "required": ["predictions"], "properties": {"predictions": rows}}


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "RFC 9457; if the model rejects a request, error and problems are its own messages.",
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "request_id": text,
            "error": text,
            "problems": {"type": "array", "items": text},
        },
    }
