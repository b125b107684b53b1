"""Host names of REST APIs, which clients use through the proxy of `mlops local env`.

https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-call-api.html
"""

from typing import Any

from ministack import app
from ministack.services import apigateway_v1 as v1

from mlops_local import compat
from mlops_local.egress.hosts import endpoint_domains

compat.expect("ministack.app", _parse_execute_api_url="(host, path)")
compat.expect("ministack.services.apigateway_v1", find_api_scope="(api_id)")


def api_of(host: str) -> tuple[str, str] | None:
    """Return id and Region of the API that a host names.

    Args:
        host: Value of the ``Host`` header, optionally with a port.

    Example:
        >>> api_of("1a2b3c4d.execute-api.us-east-1.amazonaws.com")
        ('1a2b3c4d', 'us-east-1')
        >>> api_of("apigateway.us-east-1.amazonaws.com")
    """
    identifier, _, rest = host.partition(":")[0].lower().partition(".execute-api.")
    region, _, domain = rest.partition(".")
    return (identifier, region) if identifier and domain in endpoint_domains() else None


def install() -> None:
    """Route AWS's host names of APIs to the REST APIs of this cloud; MiniStack only supports its own form."""
    parse = app._parse_execute_api_url

    def parsed(host: str, path: str) -> Any:
        found = api_of(host)
        scope = v1.find_api_scope(found[0]) if found else None
        # claim: gateway-apis-have-names
        if found is None or scope is None or scope[1] != found[1]:
            return parse(host, path)
        return parse("", f"/_aws/execute-api/{found[0]}{path}")

    app._parse_execute_api_url = parsed
