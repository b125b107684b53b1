"""Integration requests: mapped parameters, templates, and bodies passed through without a template."""

from collections.abc import Mapping
from typing import NamedTuple

from mlops_local.gateway import mapping_templates, parameter_mappings
from mlops_local.gateway.exchange import Exchange, media_type

_PREFIX = "integration.request."


class UnsupportedMediaTypeError(ValueError):
    """No template matches the body's type, which may not pass through: 415."""


class IntegrationRequest(NamedTuple):
    """A request to an integration, without parts specific to its type."""

    headers: dict[str, str]
    path: dict[str, str]
    query: dict[str, str]
    body: bytes


def template(exchange: Exchange) -> str | None:
    """Return the request template of the body's type; ``None`` if the body passes through unchanged.

    Raises:
        UnsupportedMediaTypeError: If the type has no template, and ``passthroughBehavior`` rejects such bodies.
    """
    # claim: gateway-refuses-types-without-a-template
    templates: Mapping[str, str] = exchange.integration.get("requestTemplates") or {}
    for kind, text in templates.items():
        if media_type(kind) == exchange.content_type:
            return text or ""
    behaviour = (exchange.integration.get("passthroughBehavior") or "WHEN_NO_MATCH").upper()
    if behaviour == "NEVER" or (behaviour == "WHEN_NO_TEMPLATES" and templates):
        raise UnsupportedMediaTypeError(exchange.content_type)
    return None


def build(exchange: Exchange) -> IntegrationRequest:
    """Map a request to its integration request.

    Raises:
        UnsupportedMediaTypeError: See :func:`template`.
        TemplateError: If the template cannot be evaluated.
    """
    # claim: gateway-passes-type-and-accept-alone
    text = template(exchange)
    headers = {"content-type": exchange.headers.get("content-type") or "application/json",
               "accept": exchange.headers.get("accept") or "application/json"}  # fmt: skip
    made = IntegrationRequest(headers, {}, {}, exchange.text(exchange.body, exchange.content_type))
    parts = {"header": made.headers, "path": made.path, "querystring": made.query}
    for target, source in (exchange.integration.get("requestParameters") or {}).items():
        kind, _, name = target.removeprefix(_PREFIX).partition(".")
        found = parameter_mappings.value(source, exchange)
        if found is not None:
            parts[kind][name.lower() if kind == "header" else name] = found
    if text is None:
        return made
    override = mapping_templates.overrides()
    body = mapping_templates.render(text, exchange, exchange.body, {"requestOverride": override}).encode()
    made.headers.update({name.lower(): str(given) for name, given in override["header"].items()})
    made.path.update({name: str(given) for name, given in override["path"].items()})
    made.query.update({name: str(given) for name, given in override["querystring"].items()})
    return made._replace(body=body)
