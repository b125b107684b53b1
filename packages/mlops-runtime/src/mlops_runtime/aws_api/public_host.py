"""Whether AWS could reach a host from the internet, as far as its name says.

IAM and STS read an identity provider's configuration and keys at its own address. A name that no public DNS has is refused before
anything is deployed; whether a host with a public name answers, only the network can show.
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
    """Return whether a name could be one of public DNS, or an address one of the internet.

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
