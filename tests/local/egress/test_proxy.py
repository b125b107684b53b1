"""The proxy terminates connections to AWS's hosts, and passes all others on unchanged."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from tests.local.egress.conftest import TOKEN, Recording, Running

from mlops_local.egress.proxy import with_schemes

Start = Callable[[Mapping[str, str]], Running]
TLS, PLAIN = ("127.0.0.1", 1), ("127.0.0.1", 2)


def _client(running: Running, user: str = "mlops", token: str = TOKEN) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(running.trusted))
    return httpx.Client(proxy=running.url(user, token), verify=context, trust_env=False, timeout=20)


def test_an_endpoint_of_aws_is_answered_by_the_embedded_cloud(start_proxy: Start) -> None:
    """Over TLS, with unchanged path, query, body and Host, so that signatures stay valid."""
    running = start_proxy({})
    with _client(running) as client:
        for number in range(3):  # on one connection
            answer = client.put(
                f"https://data.s3.eu-west-1.amazonaws.com/a%2Fb?n={number}", content=b"x" * 300_000,
                headers={"Authorization": "AWS4-HMAC-SHA256 Credential=test"},
            )  # fmt: skip
            assert (answer.status_code, answer.text) == (200, "cloud")

    method, path, headers, body = running.cloud.seen[2]
    assert (method, path, len(body)) == ("PUT", "/a%2Fb?n=2", 300_000)
    assert headers["host"] == "data.s3.eu-west-1.amazonaws.com"
    assert headers["authorization"] == "AWS4-HMAC-SHA256 Credential=test"
    assert "proxy-authorization" not in headers
    assert running.proxy.report()["served"] == {"data.s3.eu-west-1.amazonaws.com": 1}


def test_an_endpoint_of_aws_over_plain_http_too(start_proxy: Start) -> None:
    """A legacy client's request line has the whole address; the embedded cloud gets a normal request line."""
    running = start_proxy({})
    with _client(running) as client:
        assert client.get("http://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity").text == "cloud"

    _, path, headers, _ = running.cloud.seen[0]
    assert (path, headers["host"]) == ("/?Action=GetCallerIdentity", "sts.us-east-1.amazonaws.com")
    assert "proxy-authorization" not in headers


@pytest.mark.parametrize(
    "url",
    ["https://docs.aws.amazon.com/", "https://abc.lambda-url.us-east-1.on.aws/", "https://sts.amazonaws.com:8443/"],
)
def test_other_hosts_of_aws_are_refused_with_their_name(start_proxy: Start, url: str) -> None:
    """The reason phrase has the name too, which is all that many clients show of a CONNECT."""
    running = start_proxy({})
    with (
        _client(running) as client,
        pytest.raises(httpx.ProxyError, match=r"403 .*is AWS's and not in the embedded cloud") as caught,
    ):
        client.get(url)

    host = httpx.URL(url).host
    assert host in str(caught.value)
    assert running.proxy.report() == {"served": {}, "refused": {host: 1}, "passed_on": {}}
    assert running.cloud.seen == []


def test_the_metadata_service_is_refused(start_proxy: Start) -> None:
    """A client that looks for an instance's role finds none."""
    with _client(start_proxy({})) as client:
        answer = client.get("http://169.254.169.254/latest/meta-data/")

    assert answer.status_code == 403
    assert "169.254.169.254:80" in answer.text


@pytest.mark.parametrize(("user", "token"), [("mlops", "wrong"), ("other", "token"), ("", "")])
def test_it_is_for_shells_that_know_its_password(start_proxy: Start, user: str, token: str) -> None:
    """Another user of the machine cannot use it."""
    running = start_proxy({})
    with _client(running, user, token) as client:
        answer = client.get("http://sts.amazonaws.com/")

    assert answer.status_code == 407
    assert "mlops local env" in answer.text
    assert running.cloud.seen == []


@pytest.mark.parametrize("url", ["http://sts.amazonaws.com/", "http://registry.example/"])
def test_network_isolation_refuses_every_host(start_proxy: Start, url: str) -> None:
    """Also the embedded cloud's own services: on AWS such a container reaches no service.

    https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html
    """
    running = start_proxy({})
    with _client(running, "isolated") as client:
        answer = client.get(url)

    assert answer.status_code == 403
    assert f"{httpx.URL(url).host}: a container with network isolation makes no outbound call" in answer.text
    assert running.cloud.seen == []


def test_a_loopback_address_is_reached_directly(start_proxy: Start, serve: Callable[[str], Recording]) -> None:
    """A client that ignores ``NO_PROXY`` reaches it without the user's proxy."""
    app = serve("app")
    running = start_proxy({"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1"})
    with _client(running) as client:
        assert client.get(f"http://127.0.0.1:{app.port}/x").text == "app"

    assert app.seen[0][:2] == ("GET", "/x")
    assert running.proxy.report()["passed_on"] == {}


def test_other_hosts_go_to_the_proxy_of_the_user(start_proxy: Start, serve: Callable[[str], Recording]) -> None:
    """With the user's credentials instead of ours, as a CONNECT or, for plain HTTP, as the original request."""
    company = serve("company")
    theirs = f"http://me:s%40cret@127.0.0.1:{company.port}"
    running = start_proxy({"http_proxy": theirs, "https_proxy": theirs, "no_proxy": "intranet.example"})
    with _client(running) as client:
        assert client.get("http://registry.example/simple/?a=1").text == "company"
        with pytest.raises(httpx.ProxyError, match=r"502 your proxy 127.0.0.1 answered 403"):
            client.get("https://registry.example/simple/")

    (plain, tunnel) = company.seen
    assert plain[:2] == ("GET", "http://registry.example:80/simple/?a=1")
    assert tunnel[:2] == ("CONNECT", "registry.example:443")
    assert {row[2]["proxy-authorization"] for row in company.seen} == {"Basic bWU6c0BjcmV0"}
    assert running.proxy.report()["passed_on"] == {"registry.example": 2}


def test_a_tunnel_carries_bytes_both_ways(start_proxy: Start) -> None:
    """Until each side has ended: data that the server sends after the client's end still arrives."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo() -> None:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while chunk := connection.recv(65536):
                    received += chunk
                connection.sendall(received[::-1])

        thread = threading.Thread(target=echo)
        thread.start()
        running = start_proxy({})
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as near:
            port = listener.getsockname()[1]
            near.sendall(
                f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nProxy-Authorization: Basic bWxvcHM6dG9rZW4=\r\n\r\n".encode()
            )
            assert near.recv(1000).startswith(b"HTTP/1.1 200")
            near.sendall(b"a" * 200_000 + b"b")
            near.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := near.recv(65536):
                answer += chunk
        thread.join()

    assert answer == b"b" + b"a" * 200_000


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: sts.amazonaws.com\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"CONNECT sts.amazonaws.com:none HTTP/1.1\r\n\r\n", b"400"),
        (b"GET ftp://sts.amazonaws.com/ HTTP/1.1\r\n\r\n", b"400"),
        (b"GET http://sts.amazonaws.com/ HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (b"CONNECT sts.amazonaws.com:443 HTTP/1.1\r\nProxy-Authorization: Basic \xff\r\n\r\n", b"407"),
    ],
)
def test_what_is_no_request_for_a_proxy_is_refused(start_proxy: Start, head: bytes, status: bytes) -> None:
    """With an error status; the next client is served."""
    running = start_proxy({})
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as near:
        near.sendall(head)
        assert near.recv(1000).split(b" ")[1] == status
    with _client(running) as client:
        assert client.get("https://sts.amazonaws.com/").text == "cloud"


def test_a_client_that_does_not_trust_it_goes_no_further(start_proxy: Start) -> None:
    """Its request is never seen, and the proxy continues."""
    running = start_proxy({})
    with httpx.Client(proxy=running.url(), trust_env=False) as stranger, pytest.raises(httpx.ConnectError):
        stranger.get("https://sts.amazonaws.com/secret")
    with _client(running) as client:
        assert client.get("https://sts.amazonaws.com/").text == "cloud"

    assert [path for _, path, _, _ in running.cloud.seen] == ["/"]


def test_what_came_by_tls_is_known_by_its_connection(start_proxy: Start) -> None:
    """While the connection lasts, by its address at the embedded cloud."""
    running = start_proxy({})
    seen: list[bool] = []
    running.cloud.on_client = lambda address: seen.append(running.proxy.is_tls(address))
    with _client(running) as client:
        client.get("https://sts.us-east-1.amazonaws.com/")
        client.get("http://sts.us-east-1.amazonaws.com/")

    assert seen == [True, False]


def _marked(client: tuple[str, int] | None, *headers: tuple[bytes, bytes], kind: str = "http") -> list[bytes]:
    seen: list[Any] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"x-forwarded-proto")

    scope = {"type": kind, "client": client, "headers": [(b"host", b"d1.cloudfront.net"), *headers]}
    asyncio.run(with_schemes(application, lambda address: address == TLS)(scope, None, None))  # type: ignore[arg-type]
    return seen


@pytest.mark.parametrize("headers", [(), ((b"x-forwarded-proto", b"http"),)])
def test_what_came_by_tls(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """The mark appears once and overrides the client's."""
    assert _marked(TLS, *headers) == [b"https"]


@pytest.mark.parametrize(("client", "kind"), [(PLAIN, "http"), (None, "http"), (TLS, "lifespan")])
def test_all_else_stays(client: tuple[str, int] | None, kind: str) -> None:
    """Everything else stays unchanged."""
    assert _marked(client, kind=kind) == []
    assert _marked(client, (b"x-forwarded-proto", b"http"), kind=kind) == [b"http"]
