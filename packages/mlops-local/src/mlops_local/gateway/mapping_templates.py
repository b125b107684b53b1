"""Mapping templates in VTL, evaluated by airspeed; this module defines the objects of API Gateway.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
"""

import base64
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import airspeed

from mlops_local.gateway.exchange import Exchange, Variables
from mlops_local.gateway.parameter_mappings import PathError, find

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
    "'": "\\'",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\b": "\\b",
    "\f": "\\f",
}


class TemplateError(ValueError):
    """A template cannot be evaluated; in AWS the request returns 500."""


class Overrides(dict[str, Any]):
    """``requestOverride`` or a part of it; each value may be set once, https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-override-request-response-parameters.html."""

    # claim: gateway-overrides-once
    def __setitem__(self, name: str, given: Any) -> None:
        if name in self:
            raise TemplateError(f"{name} is overridden twice")
        super().__setitem__(name, given)


def overrides() -> Overrides:
    """Return an empty override, of a request or of a response."""
    return Overrides(header=Overrides(), path=Overrides(), querystring=Overrides())


def render(template: str, exchange: Exchange, body: bytes, override: Mapping[str, Overrides]) -> str:
    """Evaluate a template.

    Args:
        template: VTL.
        exchange: The request.
        body: ``$input.body``: the request's body, or the body of the integration's response.
        override: ``requestOverride`` or ``responseOverride``; the template's values are added to it.

    Raises:
        TemplateError: For invalid syntax, a failing call, or a value overridden twice.
    """
    # claim: gateway-templates-are-vtl
    seen = {
        "input": _Input(exchange, body.decode(errors="replace")),
        "util": _Util(),
        "context": Variables(exchange.context, **override),
        "stageVariables": Variables(exchange.stage.get("variables") or {}),
    }
    try:
        return str(_compiled(template).merge(seen))
    except TemplateError:
        raise
    except Exception as error:  # the type depends on the function that the template calls
        cause = error.__cause__ if isinstance(error.__cause__, TemplateError) else error
        raise TemplateError(f"the template cannot be evaluated: {cause}") from error


@lru_cache(maxsize=256)
def _compiled(template: str) -> Any:
    made = airspeed.Template(template)
    made.ensure_compiled()
    return made


class _Input:
    """``$input``."""

    def __init__(self, exchange: Exchange, text: str) -> None:
        self.body = text
        self._exchange = exchange

    def path(self, path: str) -> Any:
        """Return the object at a path."""
        # claim: gateway-templates-are-vtl
        try:
            document = json.loads(self.body) if self.body.strip() else {}
        except ValueError:
            return None
        try:
            return find(document, path)
        except PathError as error:
            raise TemplateError(str(error)) from error

    def json(self, path: str) -> str:
        """Return the value at a path as JSON; for the whole body, unchanged."""
        found = self.path(path)
        return "" if found is None else json.dumps(found, separators=(",", ":"), ensure_ascii=False)

    def params(self, name: str | None = None) -> Any:
        """Return a parameter of path, query or headers, in this order; without a name, all of them."""
        exchange = self._exchange
        query = {key: values[-1] for key, values in exchange.query.items()}
        if name is None:
            return {"path": dict(exchange.path_parameters), "querystring": query, "header": dict(exchange.headers)}
        found = exchange.path_parameters.get(name) or query.get(name)
        return found or exchange.headers.get(name.lower(), "")


class _Util:
    """``$util``."""

    @staticmethod
    def escapeJavaScript(text: object) -> str:  # noqa: N802 - AWS's name
        """Escape as Java's ``StringEscapeUtils`` does."""
        return "".join(_ESCAPES.get(c) or (c if " " <= c <= "~" else f"\\u{ord(c):04X}") for c in _java_text(text))

    @staticmethod
    def parseJson(text: str) -> Any:  # noqa: N802 - AWS's name
        """Parse JSON."""
        return json.loads(text)

    @staticmethod
    def urlEncode(text: object) -> str:  # noqa: N802 - AWS's name
        """Encode for ``application/x-www-form-urlencoded``."""
        return urllib.parse.quote_plus(_java_text(text), safe="*-._")

    @staticmethod
    def urlDecode(text: str) -> str:  # noqa: N802 - AWS's name
        """Decode ``urlEncode``."""
        return urllib.parse.unquote_plus(text)

    @staticmethod
    def base64Encode(text: object) -> str:  # noqa: N802 - AWS's name
        """Encode UTF-8 text."""
        return base64.b64encode(_java_text(text).encode()).decode()

    @staticmethod
    def base64Decode(text: str) -> str:  # noqa: N802 - AWS's name
        """Decode ``base64Encode``."""
        return base64.b64decode(text).decode(errors="replace")


def _java_text(node: object) -> str:
    """Format a value as Java does: ``true``, ``{a=1}``."""
    if isinstance(node, bool):
        return str(node).lower()
    if node is None:
        return "null"
    if isinstance(node, Mapping):
        return "{" + ", ".join(f"{key}={_java_text(each)}" for key, each in node.items()) + "}"
    if isinstance(node, list):
        return json.dumps(node, separators=(",", ":"), ensure_ascii=False)
    return str(node)


def _write_reference(self: Any, stream: Any, namespace: Any, loader: Any) -> None:
    """Write the value of ``$name``; without a value it is written unchanged, and ``$!name`` not at all."""
    found = self.expression.calculate(namespace, loader) if self.expression is not None else None
    if found is None and self.alternate is not None:
        found = self.alternate.calculate(namespace, loader)
    if found is None:
        stream.write("" if self.silent and self.expression is not None else self.my_text())
    else:
        stream.write(_java_text(found))


_TEXT_METHODS: dict[str, Callable[..., Any]] = {
    "toString": lambda self: self,
    "equals": lambda self, other: self == other,
    "equalsIgnoreCase": lambda self, other: self.lower() == str(other).lower(),
    "isEmpty": lambda self: not self,
    "substring": lambda self, begin, end=None: self[begin:end],
    "toLowerCase": lambda self: self.lower(),
    "toUpperCase": lambda self: self.upper(),
    "trim": lambda self: self.strip(),
    "indexOf": lambda self, part: self.find(part),
    "endsWith": lambda self, end: self.endswith(end),
    # airspeed's own matches prefixes: `{id}` would be a path
    "matches": lambda self, pattern: re.fullmatch(pattern, self) is not None,
}
_MAP_METHODS: dict[str, Callable[..., Any]] = {
    "containsKey": lambda self, name: name in self,
    "get": lambda self, name: self.get(name),
    "keySet": list,
    "size": len,
    "values": lambda self: list(self.values()),
}
# members of Python types that templates may use; any other would give a template access to this process
_MEMBERS: dict[type, frozenset[str]] = {
    str: frozenset({"replace", "split"}),
    _Input: frozenset({"body", "json", "params", "path"}),
    _Util: frozenset({"base64Decode", "base64Encode", "escapeJavaScript", "parseJson", "urlDecode", "urlEncode"}),
}


def _member(owner: object, name: str) -> Any:
    """Replaces ``getattr`` in airspeed."""
    # claim: gateway-templates-are-vtl
    if name not in _MEMBERS.get(type(owner), ()):
        raise AttributeError(name)
    return getattr(owner, name)


def _speak_java() -> None:
    """Add Velocity's features to airspeed: hyphens in names, methods of Java's strings and maps, Java's string forms."""
    airspeed.getattr = _member
    airspeed.FormalReference.evaluate_raw = _write_reference
    # https://velocity.apache.org/engine/1.7/user-guide.html#variables
    airspeed.NameOrCall.NAME = re.compile(r"([_a-z](?:[a-z0-9_-]*[a-z0-9_])?)", re.IGNORECASE)
    part = r"[a-z_](?:[a-z0-9_-]*[a-z0-9_])?"
    airspeed.SetDirective.PLACE = re.compile(rf"\s*\$({part}(?:\.{part})*)", re.IGNORECASE)
    methods: dict[type, dict[str, Callable[..., Any]]] = vars(airspeed)["__additional_methods__"]
    methods[str].update(_TEXT_METHODS)
    methods[dict].update(_MAP_METHODS)
    methods[Variables] = methods[Overrides] = methods[dict]


_speak_java()
