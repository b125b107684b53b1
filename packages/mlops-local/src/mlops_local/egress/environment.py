"""The variables that lead clients to the proxy, and what they stood at before.

A shell that has them may start the embedded cloud again, or ask for its environment again: then what the user had before
counts, and not the proxy of last time.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from mlops_local.egress.hosts import covers_aws

# both spellings: curl reads the lower one alone for http, and Python prefers it
_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_NO_PROXY = ("NO_PROXY", "no_proxy")
_TRUST = ("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
_REPLACED = (*_PROXY, *_NO_PROXY, *_TRUST)
_OTHER_ACCOUNT = (
    "AWS_DEFAULT_PROFILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
)
# as in the image: ONNX Runtime reports nothing, whichever library loads it
_IMAGE = {"ORT_DISABLE_TELEMETRY": "1"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

# what the parent of the embedded cloud hands to its child: an open socket, the proxy's password, where certificates go
SOCKET = "MLOPS_LOCAL_PROXY_SOCKET"
TOKEN = "MLOPS_LOCAL_PROXY_TOKEN"  # noqa: S105 - the name of a variable
TRUSTED = "MLOPS_LOCAL_TRUSTED"

OUTER = "MLOPS_LOCAL_OUTER"
USER = "mlops"
ISOLATED = "isolated"


def proxy_url(port: int, token: str, user: str = USER) -> str:
    """Return the address of the proxy with the name and password that it asks for."""
    return f"http://{user}:{quote(token, safe='')}@127.0.0.1:{port}"


def outer(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment as it was before :func:`enclosed` replaced parts of it.

    Args:
        environ: An environment, of a shell that may have the embedded cloud's.
    """
    found = dict(environ)
    before = found.pop(OUTER, None)
    if before is not None:
        for name in _REPLACED:
            found.pop(name, None)
        found |= json.loads(before)
    return found


def enclosed(environ: Mapping[str, str], *, proxy: str, trusted: Path) -> dict[str, str]:
    """Return the variables by which clients reach AWS's hosts through the proxy alone.

    Returns:
        The variables to set, with what they replace as JSON in ``MLOPS_LOCAL_OUTER``.
    """
    kept = [entry.strip() for name in _NO_PROXY for entry in environ.get(name, "").split(",")]
    direct = dict.fromkeys([*_LOOPBACK, *(entry for entry in kept if entry and not covers_aws(entry))])
    replaced = {name: environ[name] for name in _REPLACED if name in environ}
    return {
        **dict.fromkeys(_PROXY, proxy),
        **dict.fromkeys(_NO_PROXY, ",".join(direct)),
        **dict.fromkeys(_TRUST, str(trusted)),
        OUTER: json.dumps(replaced, sort_keys=True),
    }


def conflicting(environ: Mapping[str, str]) -> list[str]:
    """Return the variables of an environment that would turn clients away from the embedded cloud.

    A profile and a session token belong to another account's keys, and the endpoint of one service overrides that of all.

    See: https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html

    Example:
        >>> conflicting({"AWS_PROFILE": "prod", "AWS_ENDPOINT_URL_SQS": "https://sqs.example", "AWS_REGION": "eu-west-1"})
        ['AWS_ENDPOINT_URL_SQS', 'AWS_PROFILE']
    """
    return sorted(
        name
        for name in environ
        if name in _OTHER_ACCOUNT
        # a shell evaluates what is printed of the name
        or (name.startswith("AWS_ENDPOINT_URL_") and name != "AWS_ENDPOINT_URL_S3" and name.isidentifier())
    )


def container(*, isolated: bool) -> dict[str, str]:
    """Return what a process that stands for a container inherits of the variables of this process, and what our image sets.

    Args:
        isolated: Whether it has network isolation: then the proxy refuses it every host.
    """
    found = {name: os.environ[name] for name in _REPLACED if name in os.environ and OUTER in os.environ}
    found |= _IMAGE
    if isolated:
        # claim: egress-network-isolation
        found |= {name: _as_isolated(found[name]) for name in _PROXY if name in found}
    return found


def trusted_certificates(environ: Mapping[str, str]) -> list[Path]:
    """Return the files of certificates that the user's clients believe, to which ours is added.

    See: https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html (``AWS_CA_BUNDLE``), botocore falls back to
        ``REQUESTS_CA_BUNDLE``
    """
    from botocore.httpsession import get_cert_path  # noqa: PLC0415 - urllib3 imports slowly, and few processes need it

    bundle = environ.get("AWS_CA_BUNDLE") or environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True)
    extra = environ.get("NODE_EXTRA_CA_CERTS")
    return [Path(name) for name in (bundle, extra) if name and Path(name).is_file()]


def _as_isolated(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{ISOLATED}:{parts.password}@{parts.hostname}:{parts.port}"))
