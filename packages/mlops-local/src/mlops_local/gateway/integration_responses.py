"""Integration responses: selection patterns, mapped headers, and response templates.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-integration-settings-integration-response.html
"""

import re
from collections.abc import Mapping
from typing import Any

from mlops_local.gateway import mapping_templates, parameter_mappings
from mlops_local.gateway.exchange import Answer, Exchange, Record, media_type
from mlops_local.gateway.parameter_mappings import Payload

_JSON = "application/json"
_PREFIX = "method.response.header."


class MappingError(ValueError):
    """A response that API Gateway cannot map; the caller gets 500."""


def answer(exchange: Exchange, status: int, payload: Payload) -> Answer:
    """Map an integration's response.

    Args:
        exchange: The request.
        status: HTTP status of the service.
        payload: Headers and body of the service's response.

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
        if found is not None and target.startswith(_PREFIX):
            _set(headers, target.removeprefix(_PREFIX), found)
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
