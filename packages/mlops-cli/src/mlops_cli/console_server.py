"""Single-user server on 127.0.0.1 for the console's pages and API: it requires a token and rejects other origins.

Any page in the user's browser and any program on the machine can send requests here. A foreign ``Host`` (DNS rebinding), a foreign
``Origin`` or site, an API call without the token, and a write that an HTML form could send are rejected before anything is done.
"""

import hmac
import json
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from mlops_runtime.console.http_message import JSON, HttpAnswer, HttpRequest, refused
from mlops_runtime.console.page_files import CONFIG, HEADERS, page_files
from mlops_runtime.console.route import ROOT

if TYPE_CHECKING:
    from mlops_runtime.console.api import ConsoleApi

_MAX_BODY = 64 * 1024
_SECONDS = 30  # idle timeout of a connection
_TOKEN_SIGN_IN = json.dumps({"signIn": {"kind": "token"}, "api": "/api"}).encode()


class ConsoleServer(ThreadingHTTPServer):
    """The server; ``address`` has the token in its fragment, which browsers never send."""

    daemon_threads = True

    def __init__(self, api: "ConsoleApi", *, port: int = 0) -> None:
        self.api, self.files, self.token = api, page_files(), secrets.token_urlsafe(32)
        super().__init__(("127.0.0.1", port), _Handler)
        self.host = f"127.0.0.1:{self.server_port}"

    @property
    def address(self) -> str:
        """URL to open in a browser."""
        return f"http://{self.host}/#token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect before the response; print other errors, which are bugs."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the response to an untrusted request."""
        given = request.headers
        if given.get("host") != self.host:
            return refused(403, "foreign host", f"the console is only available at http://{self.host}")
        if given.get("origin", f"http://{self.host}") != f"http://{self.host}":
            return refused(403, "foreign page", "a page of another origin may not use the console")
        is_api = request.path.startswith("/api/")
        if is_api and given.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return refused(403, "foreign page", "a page of another site may not use the console")
        if is_api:
            given_token = given.get("authorization", "").encode("utf-8", "replace")
            if not hmac.compare_digest(given_token, f"Bearer {self.token}".encode()):
                detail = (
                    "the token is missing or belongs to another console: open the address that mlops console printed"
                )
                return refused(401, "no token", detail, headers={"WWW-Authenticate": "Bearer"})
            return self.api.answer(request)
        if request.method not in ("GET", "HEAD"):
            return refused(
                405,
                "method not allowed",
                f"pages accept only GET; the API is below {ROOT}/",
                headers={"Allow": "GET, HEAD"},
            )
        if request.path == CONFIG:
            return HttpAnswer(status=200, headers={"Content-Type": JSON}, body=_TOKEN_SIGN_IN)
        file = self.files.get(request.path)
        if file is None:
            return refused(404, "not found", "the console has no such file; open it at its address without a path")
        headers = {"Content-Type": file.content_type, "Cache-Control": file.cache_control}
        return HttpAnswer(status=200, headers=headers, body=file.content)


class _Handler(BaseHTTPRequestHandler):
    server: ConsoleServer
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # any method: the API checks which one a path allows
            return self._answer
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """Log no requests."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a malformed request in the format of all errors."""
        self.close_connection = True
        self._send(refused(int(code), "bad request", message or explain or "not HTTP"))

    def version_string(self) -> str:
        """Return the name of the server, without versions."""
        return "mlops-console"

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdecimal()) or "Transfer-Encoding" in self.headers:
            self.send_error(411, "a body needs a Content-Length")
            return
        if int(length) > _MAX_BODY:
            self.send_error(413, f"a body has at most {_MAX_BODY} bytes, got {int(length)}")
            return
        doubled = {name.lower() for name in self.headers if len(self.headers.get_all(name, [])) > 1}
        if doubled:
            self.send_error(400, f"these headers were sent more than once: {', '.join(sorted(doubled))}")
            return
        parts = urlsplit(self.path)
        self._send(
            self.server.answer(
                HttpRequest(
                    method=self.command,
                    path=parts.path,
                    query=dict(reversed(parse_qsl(parts.query, keep_blank_values=True))),
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(int(length)),
                )
            )
        )

    def _send(self, found: HttpAnswer) -> None:
        self.send_response(found.status)
        for name, value in {
            "Cache-Control": "no-store",
            **HEADERS,
            **found.headers,
            "Content-Length": str(len(found.body)),
        }.items():
            if not (name == "Content-Length" and found.status == 304):
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.body)
