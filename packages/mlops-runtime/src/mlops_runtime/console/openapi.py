"""OpenAPI 3.1 document of the routes, generated from the JSON schemas of their request and response contracts.

See: https://spec.openapis.org/oas/v3.1.0, whose schemas are JSON Schema 2020-12, like those of the contracts.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from mlops_runtime.console.http_message import JSON, PROBLEM, Problem
from mlops_runtime.console.route import KEY, NAME, PATTERNS, ROOT, Route
from mlops_runtime.contracts import json_schema

_READ = (400, 401, 403, 404, 405, 411, 413, 422, 502, 503)
_WRITE = (409, 415)


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document.

    Example:
        >>> document(())["openapi"]
        '3.1.0'
    """
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MLOps console",
            "version": "1",
            "summary": "Read and operate units and models",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ROOT}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}, "schemas": schemas},
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    problem = {"description": "Problem, with its fix", **_content(Problem, schemas, PROBLEM)}
    codes = (*_READ, *(_WRITE if route.takes else ()))
    found: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": f"Requires the role {route.role.value}.",
        "parameters": [
            *(
                _parameter("path", name, f"The {name}", f"^{PATTERNS.get(name, NAME)}$", is_required=True)
                for name in route.names
            ),
            *(
                _parameter("query", each.name, each.description, each.pattern, is_required=each.is_required)
                for each in route.query
            ),
        ],
        "responses": {
            str(route.status): {"description": "Done", **_content(route.gives, schemas, JSON)},
            **{str(code): problem for code in codes},
        },
    }
    if route.method == "GET":
        found["responses"]["304"] = {"description": "Not modified (If-None-Match)"}
    if route.takes is not None:
        found["parameters"].append(
            _parameter("header", "Idempotency-Key", "Requests with the same key run once", f"^{KEY}$", is_required=True)
        )
        found["requestBody"] = {"required": True, **_content(route.takes, schemas, JSON)}
        _close(schemas, route.takes.__name__)
    return found


def _parameter(place: str, name: str, description: str, pattern: str, *, is_required: bool = False) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": place, "required": is_required, "description": description, "schema": schema}


def _content(kind: type, schemas: dict[str, Any], media: str) -> dict[str, Any]:
    text = json.dumps(json_schema(kind)).replace('"#/$defs/', '"#/components/schemas/')
    found = json.loads(text)
    schemas |= found.pop("$defs") | {kind.__name__: {name: value for name, value in found.items() if name != "$schema"}}
    return {"content": {media: {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}}


def _close(schemas: dict[str, Any], name: str) -> None:
    """Refuse unknown fields in the schema of a body and in nested schemas."""
    schemas[name]["additionalProperties"] = False
    for found in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schemas[name])):
        _close(schemas, found)
