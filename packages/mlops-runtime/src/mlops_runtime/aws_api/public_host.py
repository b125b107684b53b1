"""Check by its name whether AWS could reach a host over the internet.

IAM and STS read an identity provider's configuration and keys from its own address, so a name outside of public DNS is rejected
before deployment. Whether a host with a public name responds is not checked.
"""

import ipaddress

# reserved by RFC 2606, 6761, 6762 (5 and appendix G), 8375 and, for `internal`, by ICANN's resolution of 2024-07-29
_PRIVATE = frozenset(
    (
        *("corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localhost", "private", "test"),
        "home.arpa",
    )
)


def is_public_host(host: str) -> bool:
    """Return whether a name could be in public DNS, or an IP address is global.

    Args:
        host: A host name or an IP address, without a port.

    Example:
        >>> [is_public_host(host) for host in ("gitlab.com", "gitlab.corp", "gitlab", "10.0.0.7")]
        [True, False, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        labels = host.lower().rstrip(".").split(".")
    return len(labels) > 1 and labels[-1] not in _PRIVATE and ".".join(labels[-2:]) not in _PRIVATE
