"""Mappings of integrations: from a request to the integration's request, and from its response to the method's.

Mapped parameters, templates, bodies that pass through without a template, and selection patterns of responses.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-integration-settings-integration-response.html
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlops_local.gateway import mapping_templates, parameter_mappings
from mlops_local.gateway.exchange import Answer, Exchange, Record, media_type
from mlops_local.gateway.parameter_mappings import Payload

_TARGET = "integration.request."
_JSON = "application/json"
_HEADER = "method.response.header."


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
        kind, _, name = target.removeprefix(_TARGET).partition(".")
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


class MappingError(ValueError):
    """A response that API Gateway cannot map; the caller gets 500."""


def answer(exchange: Exchange, status: int, payload: Payload) -> Answer:
    """Map an integration's response: the service's HTTP status, headers and body.

    Raises:
        MappingError: If no integration response matches and there is no default, or the method does not declare the status.
        TemplateError: If the template cannot be evaluated.
    """
    # claim: gateway-hides-configuration-errors
    selected = select(exchange.integration, str(status))
    if selected is None:
        raise MappingError(f"no integration response for {status} and no default one")
    code = str(selected["statusCode"])
    if code not in (exchange.served.get("methodResponses") or {}):
        raise MappingError(f"the method declares no response {code}")
    headers = {"Content-Type": _JSON}
    for target, source in (selected.get("responseParameters") or {}).items():
        found = parameter_mappings.value(source, exchange, payload)
        if found is not None and target.startswith(_HEADER):
            _set(headers, target.removeprefix(_HEADER), found)
    template = _template(selected, exchange, payload)
    if template is None:
        body = exchange.text(payload.body, exchange.headers.get("accept") or payload.headers.get("content-type", _JSON))
        return Answer(int(code), headers, body)
    override = mapping_templates.overrides()
    text = mapping_templates.render(template, exchange, payload.body, {"responseOverride": override})
    for name, given in override["header"].items():
        _set(headers, name, str(given))
    return Answer(int(override.get("status", code)), headers, text.encode())


def select(integration: Record, status: str) -> Mapping[str, Any] | None:
    """Return the integration response for a status: the one whose pattern matches completely, else the one without a pattern."""
    # claim: gateway-without-patterns-answers-200
    responses = list((integration.get("integrationResponses") or {}).values())
    for response in responses:
        pattern = response.get("selectionPattern")
        try:
            if pattern and re.fullmatch(pattern, status):
                return dict(response)
        except re.error as error:
            raise MappingError(f"selection pattern {pattern!r} is not a regular expression: {error}") from error
    return next((dict(response) for response in responses if not response.get("selectionPattern")), None)


def _template(selected: Mapping[str, Any], exchange: Exchange, payload: Payload) -> str | None:
    # claim: gateway-picks-response-templates
    templates = {media_type(kind): text or "" for kind, text in (selected.get("responseTemplates") or {}).items()}
    if not templates:
        return None
    accepted = [media_type(kind) for kind in exchange.headers.get("accept", "").split(",")]
    kinds = [*accepted, media_type(payload.headers.get("content-type", _JSON)), _JSON, *templates]
    found: str = templates[next(kind for kind in kinds if kind in templates)]
    return found or None


def _set(headers: dict[str, str], name: str, value: str) -> None:
    for known in [given for given in headers if given.lower() == name.lower()]:
        del headers[known]
    headers[name] = value.replace("\r", "").replace("\n", "")
