"""The names at which AWS serves pages of an account: its distributions, and the sign-in pages of its user pools.

Only those that this cloud has: below the same domains are the sites of everyone else, registries among them.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ministack import app
from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict, get_account_id
from ministack.services import cloudfront, cognito

from mlops_local import compat

compat.expect(
    "ministack.app",
    _handle_cognito_body_request="(method, path, headers, body, query_params)",
    _handle_cognito_get_request="(method, path, headers, query_params)",
    _parse_cloudfront_dataplane_host="(host)",
)
compat.expect("ministack.core.responses", get_account_id="()")
compat.expect("ministack.services.cloudfront", _distributions=AccountScopedDict, find_distribution_for_label="(label)")
compat.expect("ministack.services.cognito", _pool_domain_map=AccountRegionScopedDict)

DOMAINS = frozenset({"cloudfront.net", "amazoncognito.com"})
_ENDS = tuple(f".{domain}" for domain in DOMAINS)


def install() -> None:
    """Let every path at a distribution be the distribution's, also those of Cognito's pages."""
    app._handle_cognito_get_request = _elsewhere(app._handle_cognito_get_request)
    app._handle_cognito_body_request = _elsewhere(app._handle_cognito_body_request)


def _elsewhere(answer: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def answered(method: str, path: str, headers: Mapping[str, str], *rest: Any) -> Any:
        # claim: pages-have-names
        return None if is_distribution(headers.get("host", "")) else await answer(method, path, headers, *rest)

    return answered


def distributions() -> list[str]:
    """Return the names of the distributions."""
    return sorted(each["DomainName"].lower() for each in cloudfront._distributions.values())


def sign_in_pages() -> list[str]:
    """Return the names of the pages at which user pools sign people in; a domain of one's own has a name of its own."""
    return sorted(
        f"{prefix}.auth.{region}.amazoncognito.com"
        for (account, region, prefix), _ in cognito._pool_domain_map.all_items()
        if account == get_account_id() and "." not in prefix
    )


def is_distribution(host: str) -> bool:
    """Return whether a ``Host`` is of a distribution, by its own name or by MiniStack's for it on the loopback interface."""
    label = app._parse_cloudfront_dataplane_host(host)
    return label is not None and cloudfront.find_distribution_for_label(label) is not None


def is_page_host(host: str) -> bool:
    """Return whether a name, without port, is of a distribution or of sign-in pages of this cloud."""
    name = host.rstrip(".").lower()
    return name.endswith(_ENDS) and (name in distributions() or name in sign_in_pages())
