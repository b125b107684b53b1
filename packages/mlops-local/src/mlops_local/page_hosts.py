"""The names at which AWS serves pages of an account: its distributions, and the sign-in pages of its user pools.

Only those that this cloud has: below the same domains are the sites of everyone else, registries among them.
"""

from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict, get_account_id
from ministack.services import cloudfront, cognito

from mlops_local import compat

compat.expect("ministack.core.responses", get_account_id="()")
compat.expect("ministack.services.cloudfront", _distributions=AccountScopedDict)
compat.expect("ministack.services.cognito", _pool_domain_map=AccountRegionScopedDict)

# claim: pages-have-names
DOMAINS = frozenset({"cloudfront.net", "amazoncognito.com"})
_ENDS = tuple(f".{domain}" for domain in DOMAINS)


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


def is_page_host(host: str) -> bool:
    """Return whether a name, without port, is of a distribution or of sign-in pages of this cloud."""
    name = host.rstrip(".").lower()
    return name.endswith(_ENDS) and (name in distributions() or name in sign_in_pages())
