"""Environment variables that direct clients to the proxy, and their original values.

A shell with these variables may start the embedded cloud again, or ask for its environment again; then the user's original
values count, not those of an earlier proxy.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from mlops_local.egress.hosts import covers_aws

# both spellings: curl reads only the lower-case one for http, and Python prefers it
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
# as in the image: ONNX Runtime sends no telemetry, whichever library loads it
_IMAGE = {"ORT_DISABLE_TELEMETRY": "1"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

# passed from parent to child: a listening socket, the proxy's password, and the path of the trusted certificates
SOCKET = "MLOPS_LOCAL_PROXY_SOCKET"
TOKEN = "MLOPS_LOCAL_PROXY_TOKEN"  # noqa: S105 - the name of a variable
TRUSTED = "MLOPS_LOCAL_TRUSTED"

OUTER = "MLOPS_LOCAL_OUTER"
USER = "mlops"
ISOLATED = "isolated"


def proxy_url(port: int, token: str, user: str = USER) -> str:
    """Return the URL of the proxy with user name and password."""
    return f"http://{user}:{quote(token, safe='')}@127.0.0.1:{port}"


def outer(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a shell as it was before :func:`enclosed`."""
    found = dict(environ)
    before = found.pop(OUTER, None)
    if before is not None:
        for name in _REPLACED:
            found.pop(name, None)
        found |= json.loads(before)
    return found


def enclosed(environ: Mapping[str, str], *, proxy: str, trusted: Path) -> dict[str, str]:
    """Return the variables with which clients reach AWS's hosts only through the proxy.

    Returns:
        The variables to set, and the values they replace as JSON in ``MLOPS_LOCAL_OUTER``.
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
    """Return the variables of an environment that would direct clients away from the embedded cloud.

    A profile and a session token belong to another account's keys, and a service's own endpoint overrides the common one.

    See: https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html

    Example:
        >>> conflicting({"AWS_PROFILE": "prod", "AWS_ENDPOINT_URL_SQS": "https://sqs.example", "AWS_REGION": "eu-west-1"})
        ['AWS_ENDPOINT_URL_SQS', 'AWS_PROFILE']
    """
    return sorted(
        name
        for name in environ
        if name in _OTHER_ACCOUNT
        # the printed names are evaluated by a shell
        or (name.startswith("AWS_ENDPOINT_URL_") and name != "AWS_ENDPOINT_URL_S3" and name.isidentifier())
    )


def container(*, isolated: bool) -> dict[str, str]:
    """Return what a container's process inherits from this one, and what our image sets; isolated, its proxy rejects every host."""
    found = {name: os.environ[name] for name in _REPLACED if name in os.environ and OUTER in os.environ}
    found |= _IMAGE
    if isolated:
        # claim: egress-network-isolation
        found |= {name: _as_isolated(found[name]) for name in _PROXY if name in found}
    return found


def trusted_certificates(environ: Mapping[str, str]) -> list[Path]:
    """Return the certificate files that the user's clients trust, to which ours is added."""
    # https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html (`AWS_CA_BUNDLE`), botocore falls back to
    # `REQUESTS_CA_BUNDLE`
    from botocore.httpsession import get_cert_path  # noqa: PLC0415 - urllib3 imports slowly, and few processes need it

    bundle = environ.get("AWS_CA_BUNDLE") or environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True)
    extra = environ.get("NODE_EXTRA_CA_CERTS")
    return [Path(name) for name in (bundle, extra) if name and Path(name).is_file()]


def _as_isolated(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{ISOLATED}:{parts.password}@{parts.hostname}:{parts.port}"))
