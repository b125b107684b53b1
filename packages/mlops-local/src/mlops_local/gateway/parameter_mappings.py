"""Expressions of API Gateway's parameter mappings, sources of headers, path parts and query parameters; and JSONPath in them.

https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-parameter-mapping-sources.html
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlops_local.gateway.exchange import Exchange

_STEP = re.compile(
    r"\.([A-Za-z_][\w-]*)|\[\s*'([^']*)'\s*\]|\[\s*\"([^\"]*)\"\s*\]|\[\s*(\d+)\s*\]|(\[\s*\*\s*\]|\.\*)"
)


class Payload(NamedTuple):
    """Response of an integration; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes


def value(source: str, exchange: Exchange, payload: Payload | None = None) -> str | None:
    """Return the value of an expression.

    Args:
        source: ``method.request.header.x``, ``context.requestId``, ``'constant'``, ``integration.response.header.x``, ...
        exchange: The request.
        payload: The integration's response. Default: no response yet.

    Returns:
        The value, or ``None`` if the request or response has no such value; AWS then omits the parameter.
    """
    # claim: gateway-parameters-are-mapped
    if len(source) > 1 and source[0] == source[-1] == "'":
        return source[1:-1]
    where, _, name = source.partition(".")
    if where == "context":
        return _text(_down(exchange.context, name.split(".")))
    if where == "stageVariables":
        return _text((exchange.stage.get("variables") or {}).get(name))
    if source.startswith("method.request."):
        return _of_request(source.removeprefix("method.request."), exchange)
    if source.startswith("integration.response.") and payload is not None:
        kind, _, name = source.removeprefix("integration.response.").partition(".")
        if kind in {"header", "multivalueheader"}:
            return payload.headers.get(name.lower())
        return _of_body(payload.body, name)
    return None


def _of_request(source: str, exchange: Exchange) -> str | None:
    kind, _, name = source.partition(".")
    if kind in {"header", "multivalueheader"}:
        return exchange.headers.get(name.lower())
    if kind == "path":
        return exchange.path_parameters.get(name)
    if kind in {"querystring", "multivaluequerystring"}:
        found = exchange.query.get(name) or [""]
        return (found[-1] if kind == "querystring" else ",".join(found)) or None
    return _of_body(exchange.body, name)


def _of_body(body: bytes, path: str) -> str | None:
    if not path:
        return body.decode(errors="replace")
    try:
        return _text(find(json.loads(body), f"$.{path}"))
    except (ValueError, PathError):
        return None


def _down(node: Any, names: list[str]) -> Any:
    for name in names:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _text(node: Any) -> str | None:
    if node is None or node == "":
        return None
    return node if isinstance(node, str) else json.dumps(node, separators=(",", ":"))


class PathError(ValueError):
    """A JSONPath that the embedded cloud does not support."""


def find(document: Any, path: str) -> Any:
    """Return the value at a path.

    Args:
        document: A JSON value.
        path: ``$``, ``$.a.b``, ``$.a[0]``, ``$['a']``, ``$.a[*].b``.

    Returns:
        The value; a list if the path has ``[*]``; ``None`` if the path does not exist.

    Raises:
        PathError: For filters, slices and recursive descent.

    Example:
        >>> find({"rows": [{"x": 1}, {"x": 2}]}, "$.rows[*].x")
        [1, 2]
    """
    if not path.startswith("$"):
        raise PathError(f"a JSONPath of the embedded cloud starts with $, got {path!r}")
    nodes, position, is_list = [document], 1, False
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise PathError(
                f"the embedded cloud does not evaluate {path!r} from {path[position:]!r} on: use names, indices and [*]"
            )
        position = step.end()
        name = next((given for given in step.groups()[:3] if given is not None), None)
        if step[5]:
            is_list = True
            nodes = [item for node in nodes for item in _items(node)]
        elif name is not None:
            nodes = [node[name] for node in nodes if isinstance(node, dict) and name in node]
        else:
            index = int(step[4])
            nodes = [node[index] for node in nodes if isinstance(node, list) and index < len(node)]
    return nodes if is_list else next(iter(nodes), None)


def _items(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else list(node) if isinstance(node, list) else []
