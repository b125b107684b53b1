"""HTTP integrations: a public address, or a load balancer behind a VPC link.

https://docs.aws.amazon.com/apigateway/latest/developerguide/setup-http-integrations.html
"""

import asyncio
import http.client
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from mlops_local.gateway import integration_mappings, parameter_mappings, vpc_links
from mlops_local.gateway.exchange import Answer, Exchange
from mlops_local.gateway.integration_mappings import MappingError
from mlops_local.gateway.parameter_mappings import Payload

_PREFIX = "integration.request."
# hop-by-hop headers, or headers set again for each connection
_OWN = frozenset({"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "te", "trailer",
                  "transfer-encoding", "upgrade"})  # fmt: skip
_REMAPPED = frozenset({"connection", "content-length", "date", "server", "www-authenticate"})


class BackendError(OSError):
    """The backend is unreachable or closes the connection: 504."""


class _Call(NamedTuple):
    scheme: str
    host: str
    port: int | None
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    timeout: float


async def serve(exchange: Exchange) -> Answer:
    """Serve a request from an HTTP backend.

    Raises:
        BackendError: If the backend cannot be reached.
        TimeoutError: If the integration's timeout passes without a response.
        UnsupportedMediaTypeError: If the body's type is rejected (not for proxy integrations).
        TemplateError: If a template cannot be evaluated (not for proxy integrations).
        MappingError: If the response cannot be mapped, or the VPC link or its target does not exist.
    """
    is_proxy = exchange.integration.get("type") == "HTTP_PROXY"
    call = _proxied(exchange) if is_proxy else _mapped(exchange)
    status, payload, headers = await asyncio.to_thread(partial(_send, call))
    exchange.context["integrationStatus"] = status
    if not is_proxy:
        return integration_mappings.answer(exchange, status, payload)
    # claim: http-proxies-pass-all-headers
    kept: dict[str, str] = {}
    for name, value in headers:
        if name.lower() in _REMAPPED:
            kept[f"x-amzn-Remapped-{name}"] = value
        elif name.lower() not in _OWN:
            kept[name] = value
    return Answer(status, kept, payload.body)


def _proxied(exchange: Exchange) -> _Call:
    headers = {name: value for name, value in exchange.headers.items() if name not in _OWN}
    path = dict(exchange.path_parameters)
    query = {name: list(values) for name, values in exchange.query.items()}
    for target, source in (exchange.integration.get("requestParameters") or {}).items():
        kind, _, name = target.removeprefix(_PREFIX).partition(".")
        found = parameter_mappings.value(source, exchange)
        if found is None:
            continue
        if kind == "header":
            headers[name.lower()] = found
        elif kind == "path":
            path[name] = found
        else:
            query[name] = [found]
    return _call(exchange, path, urlencode(query, doseq=True), headers, exchange.body)


def _mapped(exchange: Exchange) -> _Call:
    request = integration_mappings.build(exchange)
    return _call(exchange, request.path, urlencode(request.query), request.headers, request.body)


def _call(exchange: Exchange, path: Mapping[str, str], query: str, headers: Mapping[str, str], body: bytes) -> _Call:
    # claim: gateway-integrations-time-out
    integration = exchange.integration
    address = str(integration.get("uri") or "")
    for name, value in path.items():
        address = address.replace("{" + name + "}", quote(value)).replace("{" + name + "+}", quote(value))
    parts = urlsplit(address)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise MappingError(f"{address!r} is not an HTTP address")
    verb = str(integration.get("httpMethod") or "ANY")
    target = f"{parts.path or '/'}?{'&'.join(filter(None, (parts.query, query)))}".rstrip("?")
    scheme, host, port = parts.scheme, parts.hostname, parts.port
    if integration.get("connectionType") == "VPC_LINK":
        # claim: private-integrations-have-the-stage-in-their-path
        target, scheme, port = f"/{exchange.stage['stageName']}{target}", "http", vpc_links.port(integration)
        host = "127.0.0.1"
    sent = {**headers, "host": parts.netloc, "x-amzn-apigateway-api-id": exchange.api["id"]}
    method = exchange.method if verb == "ANY" else verb
    return _Call(
        scheme, host, port, method, target, sent, body, int(integration.get("timeoutInMillis") or 29_000) / 1000
    )


def _send(call: _Call) -> tuple[int, Payload, list[tuple[str, str]]]:
    kind = http.client.HTTPSConnection if call.scheme == "https" else http.client.HTTPConnection
    # claim: gateway-names-broken-backends
    connection = kind(call.host, call.port, timeout=call.timeout)
    try:
        connection.request(call.method, call.path, call.body or None, dict(call.headers))
        response = connection.getresponse()
        body = response.read()
        headers = response.getheaders()
        return response.status, Payload({name.lower(): value for name, value in headers}, body), headers
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise BackendError(str(error)) from error
    finally:
        connection.close()
