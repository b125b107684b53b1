"""Arguments with which a browser opens the embedded cloud's pages at AWS's names, and all other pages normally.

The browser sends only those names to the proxy, and trusts this run's certificates by the hash of their key: no authority is
added to the user's trust stores.
"""

import base64
import json
from collections.abc import Sequence


def arguments(hosts: Sequence[str], *, proxy_port: int, pin: str) -> list[str]:
    """Return arguments of Chromium, Chrome or Edge, which accept the pin only with a ``--user-data-dir``.

    Args:
        hosts: Hosts of the pages.
        proxy_port: Port of the proxy on 127.0.0.1.
        pin: Base64 of the SHA-256 of the certificates' public key.

    See: https://chromium.googlesource.com/chromium/src/+/main/net/docs/proxy.md,
        ``kIgnoreCertificateErrorsSPKIList`` of Chromium's ``network_switches.cc``

    Example:
        >>> proxy, trust = arguments(["d1.cloudfront.net"], proxy_port=4567, pin="c2hh")
        >>> trust
        '--ignore-certificate-errors-spki-list=c2hh'
        >>> base64.b64decode(proxy.partition("base64,")[2]).decode()
        'function FindProxyForURL(url, host) { return ["d1.cloudfront.net"].includes(host) ? "PROXY 127.0.0.1:4567" : "DIRECT"; }'
    """
    script = (
        f"function FindProxyForURL(url, host) {{ return {json.dumps(list(hosts))}.includes(host) "
        f'? "PROXY 127.0.0.1:{proxy_port}" : "DIRECT"; }}'
    )
    encoded = base64.b64encode(script.encode()).decode()
    return [
        f"--proxy-pac-url=data:application/x-ns-proxy-autoconfig;base64,{encoded}",
        f"--ignore-certificate-errors-spki-list={pin}",
    ]
