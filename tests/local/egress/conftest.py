"""Fixtures: a proxy with its parts, and servers in place of the network beyond it."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlops_local.egress.authority import Authority
from mlops_local.egress.environment import proxy_url
from mlops_local.egress.hosts import endpoint_domains
from mlops_local.egress.proxy import Proxy
from mlops_local.egress.upstream import Upstream

TOKEN = "token"


@dataclass
class Recording:
    """A server that responds with its name and records its requests."""

    name: str
    port: int = 0
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    on_client: Callable[[tuple[str, int]], object] = lambda _address: None


@dataclass
class Running:
    """A proxy, and the server in place of the embedded cloud behind it."""

    proxy: Proxy
    port: int
    cloud: Recording
    trusted: Path

    def url(self, user: str = "mlops", token: str = TOKEN) -> str:
        """Return the proxy's URL for a user."""
        return proxy_url(self.port, token, user)


@pytest.fixture
def serve() -> Iterator[Callable[[str], Recording]]:
    """Start a server: ``serve("cloud")``; it does not tunnel, but records a CONNECT and responds with 403."""
    servers = []

    def start(name: str) -> Recording:
        recording = Recording(name)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {key.lower(): value for key, value in self.headers.items()}
                recording.on_client(self.client_address)
                recording.seen.append((self.command, self.path, headers, body))
                content = recording.name.encode()
                self.send_response(403 if self.command == "CONNECT" else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_CONNECT = _answer  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        recording.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return recording

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def start_proxy(serve: Callable[[str], Recording], tmp_path: Path) -> Callable[[Mapping[str, str]], Running]:
    """Start a proxy for a user with an environment: ``start_proxy({"HTTPS_PROXY": ...})``."""

    def start(environ: Mapping[str, str]) -> Running:
        cloud = serve("cloud")
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        authority = Authority(endpoint_domains())
        trusted = tmp_path / "trusted.pem"
        trusted.write_bytes(authority.pem())
        proxy = Proxy(
            listener, token=TOKEN, cloud_port=cloud.port, context=authority.context, upstream=Upstream(environ)
        )
        proxy.start()
        return Running(proxy, listener.getsockname()[1], cloud, trusted)

    return start
