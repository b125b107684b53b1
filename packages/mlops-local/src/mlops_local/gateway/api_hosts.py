"""Host names of REST APIs: of clients behind the proxy of `mlops local env`, and as origins of CloudFront distributions.

https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-call-api.html
"""

import asyncio
import contextvars
from collections.abc import Mapping
from typing import Any

from ministack import app
from ministack.services import apigateway_v1 as v1
from ministack.services import cloudfront

from mlops_local import settings
from mlops_local.egress.hosts import endpoint_domains
from mlops_local.gateway import service_calls


def api_of(host: str) -> tuple[str, str] | None:
    """Return id and Region of the API that a ``Host`` header names, with or without a port.

    Example:
        >>> api_of("1a2b3c4d.execute-api.us-east-1.amazonaws.com")
        ('1a2b3c4d', 'us-east-1')
        >>> api_of("apigateway.us-east-1.amazonaws.com")
    """
    identifier, _, rest = host.partition(":")[0].lower().partition(".execute-api.")
    region, _, domain = rest.partition(".")
    return (identifier, region) if identifier and domain in endpoint_domains() else None


def install() -> None:
    """Route AWS's host names of APIs to the REST APIs of this cloud; MiniStack only supports its own form.

    Distributions may have them as origins.
    """
    parse = app._parse_execute_api_url

    def parsed(host: str, path: str) -> Any:
        found = api_of(host)
        scope = v1.find_api_scope(found[0]) if found else None
        # claim: gateway-apis-have-names
        if found is None or scope is None or scope[1] != found[1]:
            return parse(host, path)
        return parse("", f"/_aws/execute-api/{found[0]}{path}")

    app._parse_execute_api_url = parsed
    _serve_distributions()


def _serve_distributions() -> None:
    """Support REST APIs of this cloud as origins of distributions."""
    fetch = cloudfront._fetch_from_origin

    async def fetch_from_origin(  # noqa: PLR0917 - MiniStack's own signature
        origin: Mapping[str, Any], method: str, uri: str, query: str, headers: Mapping[str, str], body: bytes,
        viewer_is_https: bool, client_ip: str, viewer_xff: str, dist_arn: str,
    ) -> Any:  # fmt: skip
        host = str(origin["domain_name"]).lower()
        found = api_of(host)
        if found is None or v1.find_api_scope(found[0]) is None:
            return await fetch(
                origin, method, uri, query, headers, body, viewer_is_https, client_ip, viewer_xff, dist_arn
            )
        sent = {
            k.lower(): v for k, v in cloudfront._origin_request_headers(origin, headers, client_ip, viewer_xff).items()
        }
        # claim: distributions-reach-rest-apis
        if (
            sent.get("host", host).partition(":")[0].lower() != host
        ):  # for example when a policy forwards the viewer's host
            return 403, "Forbidden", {"content-type": "application/json"}, b'{"message":"Forbidden"}'
        sent["host"] = f"127.0.0.1:{settings.port}"
        path = f"/_aws/execute-api/{found[0]}{origin.get('origin_path') or ''}{uri}"
        pending = service_calls.dispatch(method, path, query, sent, body or b"")
        try:
            answer = await asyncio.wait_for(
                asyncio.create_task(pending, context=contextvars.Context()), float(origin.get("read_timeout") or 30)
            )
        except TimeoutError as error:
            raise cloudfront.OriginTimeout(f"no response from {host}") from error
        return answer.status, "", cloudfront._multidict_from_pairs(answer.headers.items()), answer.body

    cloudfront._fetch_from_origin = fetch_from_origin
