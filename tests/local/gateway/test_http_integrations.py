"""HTTP backends of an API."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.local.gateway.conftest import Api


class Echo(BaseHTTPRequestHandler):
    """Echoes requests, with a version of its own."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Respond with path, headers and body, and the status of the query."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        content = json.dumps({"path": self.path, "headers": headers, "body": body}).encode()
        self.send_response(418 if "teapot" in self.path else 200)
        for name, value in (
            ("x-model-version", "7"),
            ("content-type", "application/problem+json"),
            ("www-authenticate", "Basic"),
        ):
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def backend() -> Iterator[str]:
    """Return the URL of a backend."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_proxy_passes_headers_both_ways(make_api: Callable[..., Api], backend: str) -> None:
    """Except connection headers; a mapped header replaces the caller's."""
    api = make_api()
    api.method(
        "/models/{name}", {}, type="HTTP_PROXY", uri=f"{backend}/v1/{{name}}", integrationHttpMethod="ANY",
        method={"requestParameters": {"method.request.path.name": True}},
        requestParameters={
            "integration.request.path.name": "method.request.path.name",
            "integration.request.header.X-Inference-Id": "context.requestId",
        },
    )  # fmt: skip
    seen = api.deploy().call("/models/a%20b?teapot=1", b"{}", x_inference_id="theirs", x_own="1")
    assert (seen.status, seen.headers["x-model-version"]) == (418, "7")
    assert seen.headers["content-type"] == "application/problem+json"
    assert (seen.headers["x-amzn-remapped-www-authenticate"], "www-authenticate" in seen.headers) == ("Basic", False)
    assert (seen.json["path"], seen.json["body"]) == ("/v1/a%20b?teapot=1", "{}")
    requested = seen.json["headers"]
    assert (requested["x-own"], requested["x-inference-id"]) == ("1", seen.headers["x-amzn-requestid"])
    assert requested["host"] == backend.removeprefix("http://")


def test_what_is_no_proxy_is_mapped(make_api: Callable[..., Api], backend: str) -> None:
    """Status by pattern, headers by mapping, bodies by template."""
    api = make_api()
    api.method(
        "/x", {"200": {}, "502": {"selectionPattern": "4..", "responseTemplates": {"application/json": "{}"}}},
        type="HTTP", uri=f"{backend}/teapot", requestTemplates={"application/json": '{"wrapped": $input.body}'},
    )  # fmt: skip
    seen = api.deploy().call("/x", b"1")
    assert (seen.status, seen.body, "x-model-version" in seen.headers) == (502, b"{}", False)


def test_a_backend_that_is_not_there_answers_504(make_api: Callable[..., Api]) -> None:
    """As INTEGRATION_FAILURE; an address without a host is a configuration error."""
    api = make_api()
    api.method("/x", {}, type="HTTP_PROXY", uri="http://127.0.0.1:1/")
    api.method("/y", {}, type="HTTP_PROXY", uri="ftp://127.0.0.1/")
    api.deploy()
    assert [api.call(path).status for path in ("/x", "/y")] == [504, 500]
