"""Classification of hosts: AWS's hosts, and those that the embedded cloud serves.

The domains of AWS's endpoints come from botocore's list of partitions; the others serve sign-in pages, function URLs, public images
and the notices of the CDK CLI.
"""

import functools
import ipaddress
from enum import Enum

from botocore.loaders import Loader

# claim: egress-aws-domains
_OTHER_DOMAINS = frozenset({
    "aws", "aws.dev", "aws.amazon.com", "awsapps.com", "amazoncognito.com", "amazonwebservices.com",
})  # fmt: skip
# claim: egress-metadata-addresses
_METADATA = frozenset({"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"})


class Kind(Enum):
    """The kind of a host."""

    LOOPBACK = "loopback"
    METADATA = "metadata"
    ENDPOINT = "endpoint"
    AWS = "aws"
    FOREIGN = "foreign"


@functools.cache
def endpoint_domains() -> frozenset[str]:
    """Return the domains of AWS's service endpoints, in every partition.

    See: botocore's ``partitions.json``, ``dnsSuffix`` and ``dualStackDnsSuffix``
    """
    rows = Loader().load_data("partitions")["partitions"]
    return frozenset(row["outputs"][name] for row in rows for name in ("dnsSuffix", "dualStackDnsSuffix"))


def domains() -> frozenset[str]:
    """Return every domain of AWS."""
    return endpoint_domains() | _OTHER_DOMAINS


@functools.lru_cache(maxsize=1024)  # called for each request
def kind(host: str) -> Kind:
    """Return the kind of a host.

    Example:
        >>> kind("sts.us-east-1.amazonaws.com")
        <Kind.ENDPOINT: 'endpoint'>
        >>> kind("cli.cdk.dev-tools.aws.dev"), kind("pypi.org")
        (<Kind.AWS: 'aws'>, <Kind.FOREIGN: 'foreign'>)
    """
    name = host.strip("[]").rstrip(".").lower()
    if name in _METADATA:
        return Kind.METADATA
    if name == "localhost" or name.endswith(".localhost") or _is_loopback(name):
        return Kind.LOOPBACK
    if _below(name, endpoint_domains()):
        return Kind.ENDPOINT
    return Kind.AWS if _below(name, _OTHER_DOMAINS) else Kind.FOREIGN


def covers_aws(entry: str) -> bool:
    """Return whether a ``NO_PROXY`` entry, a host or a domain with or without ``*``, would let a client bypass the proxy for AWS.

    Example:
        >>> covers_aws("*"), covers_aws(".amazonaws.com"), covers_aws("com"), covers_aws("intranet.example")
        (True, True, True, False)
    """
    name = entry.strip().lower().removeprefix("*").lstrip(".").partition("/")[0].rstrip(".")
    if not name:
        return bool(entry.strip())
    if kind(name) in {Kind.METADATA, Kind.ENDPOINT, Kind.AWS} or name.startswith(("169.254.", "fd00:ec2:")):
        return True
    return any(domain.endswith(f".{name}") for domain in domains())


def _below(name: str, known: frozenset[str]) -> bool:
    labels = name.split(".")
    return any(".".join(labels[start:]) in known for start in range(len(labels)))


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
