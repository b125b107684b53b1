"""CloudFront distributions with a REST API as origin: requests reach the API in process."""

import asyncio
import contextvars
from collections.abc import Mapping
from typing import Any

from ministack.services import apigateway_v1 as v1
from ministack.services import cloudfront

from mlops_local import compat, settings
from mlops_local.gateway import own_front
from mlops_local.gateway.api_hosts import api_of

compat.expect(
    "ministack.services.cloudfront",
    OriginTimeout=type,
    _fetch_from_origin="(origin, method, uri, query_string, headers, body, viewer_is_https, client_ip, viewer_xff, dist_arn)",
    _multidict_from_pairs="(pairs)",
    _origin_request_headers="(origin, headers, client_ip, viewer_x_forwarded_for)",
)
compat.expect("ministack.services.apigateway_v1", find_api_scope="(api_id)")


def install() -> None:
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
        asked = own_front.ask(method, path, query, sent, body or b"")
        try:
            answer = await asyncio.wait_for(
                asyncio.create_task(asked, context=contextvars.Context()), float(origin.get("read_timeout") or 30)
            )
        except TimeoutError as error:
            raise cloudfront.OriginTimeout(f"no response from {host}") from error
        return answer.status, "", cloudfront._multidict_from_pairs(answer.headers.items()), answer.body

    cloudfront._fetch_from_origin = fetch_from_origin
