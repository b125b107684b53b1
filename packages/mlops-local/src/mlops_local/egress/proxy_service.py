"""Starts the proxy in the embedded cloud's child process."""

import os
import socket
from pathlib import Path

from mlops_local import own_names, page_hosts, settings
from mlops_local.egress import environment, hosts, refusals
from mlops_local.egress.authority import Certificates
from mlops_local.egress.proxy import Proxy
from mlops_local.egress.upstream import Upstream
from mlops_local.load_balancer import balancer_api
from mlops_local.routes import ROUTES


def start() -> Proxy:
    """Start the proxy on the inherited socket, write the trusted certificates, and return the proxy."""
    outer = environment.outer(os.environ)
    certificates = Certificates(
        hosts.endpoint_domains() | page_hosts.DOMAINS,
        file=Path(os.environ[environment.TRUSTED]),
        others=[path.read_bytes().rstrip() for path in environment.trusted_certificates(outer)],
    )
    own_names.watch(certificates.add)
    proxy = Proxy(
        socket.socket(fileno=int(os.environ.pop(environment.SOCKET))),
        token=os.environ.pop(environment.TOKEN),
        cloud_port=settings.port,
        context=certificates.context,
        upstream=Upstream(outer),
        balancer=balancer_api.listening,
        is_page_host=page_hosts.is_page_host,
    )
    proxy.start()
    ROUTES["/_mlops/egress"] = lambda _method, _body: (200, _report(proxy))
    ROUTES["/_mlops/pages"] = lambda _method, _body: (200, _pages(certificates))
    return proxy


def _pages(certificates: Certificates) -> dict[str, object]:
    """Return the page hosts, and the pin by which a browser trusts their certificates."""
    return {"distributions": page_hosts.distributions(), "hosts": page_hosts.hosts(), "pin": certificates.pin()}


def _report(proxy: Proxy) -> dict[str, dict[str, int]]:
    """Return the proxy's counts; requests that the embedded cloud rejected count as refused, not served."""
    found = proxy.report()
    for host, count in refusals.refused().items():
        found["refused"][host] = found["refused"].get(host, 0) + count
        served = found["served"].pop(host, 0) - count
        if served > 0:
            found["served"][host] = served
    return {verdict: dict(sorted(counts.items())) for verdict, counts in found.items()}
