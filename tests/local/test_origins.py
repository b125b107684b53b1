"""Requests of a browser's page, or with another host name than the embedded cloud's."""

import http.client
import json
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
from tests.local.site import make_site

from mlops_local.cloud import Cloud
from mlops_local.origins import refusal

PORT = 4566
OWN = f"127.0.0.1:{PORT}"


@pytest.mark.parametrize(
    "host",
    [
        OWN,
        f"localhost:{PORT}",
        f"[::1]:{PORT}",
        f"data.localhost:{PORT}",
        f"data.127.0.0.1:{PORT}",
        f"abcdef01.execute-api.127.0.0.1:{PORT}",
        "sts.us-east-1.amazonaws.com",
        "data.s3.eu-central-1.amazonaws.com:443",
        "api.sagemaker.us-east-1.amazonaws.com.:443",
        "states.cn-north-1.amazonaws.com.cn",
    ],
)
def test_names_of_the_embedded_cloud_and_of_aws(host: str) -> None:
    """Loopback with its port, SDK prefixes of it, and AWS's endpoints that the proxy handles."""
    assert refusal({"host": host}, PORT) is None


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", f"evil.example:{PORT}", "127.0.0.1", "localhost:1", f"127.0.0.1.nip.io:{PORT}",
     f"localhost.evil.example:{PORT}", "amazonaws.com.evil.example", "sts.evilamazonaws.com", f"10.0.0.1:{PORT}",
     f"127.0.0.1:{PORT}@evil.example", "x.lambda-url.us-east-1.on.aws"],
)  # fmt: skip
def test_other_names_are_refused(host: str) -> None:
    """A name whose DNS points at 127.0.0.1 lets a page bypass the same-origin policy (DNS rebinding)."""
    assert "Host" in (refusal({"host": host}, PORT) or "")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": f"http://evil.localhost:{PORT}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_are_refused(headers: Mapping[str, str]) -> None:
    """Of other sites and of other ports of this machine."""
    assert "page" in (refusal({"host": OWN, **headers}, PORT) or "")


def test_what_is_not_a_page_is_let_through() -> None:
    """SDKs send neither header; an address typed into a browser belongs to no page."""
    assert refusal({"host": OWN, "sec-fetch-site": "none"}, PORT) is None
    assert refusal({"host": OWN, "origin": f"http://{OWN}", "sec-fetch-site": "same-origin"}, PORT) is None


def send(cloud: Cloud, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str, Mapping[str, str]]:
    """Send a request unchanged."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=20)
    connection.request(method, path, body or None, headers)
    response = connection.getresponse()
    answer = response.status, response.read().decode(), {name.lower(): value for name, value in response.getheaders()}
    connection.close()
    return answer


@pytest.mark.parametrize(
    "path", ["/", "/_mlops/clock", "/_ministack/health", "/_ministack/reset", "/2015-03-31/functions"]
)
@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_every_address_refuses_them(cloud: Cloud, path: str, headers: dict[str, str]) -> None:
    """Before any other check."""
    for method in ("GET", "POST", "OPTIONS"):
        status, answer, got = send(cloud, method, path, b"x" if method == "POST" else b"", **headers)
        assert (status, json.loads(answer)["__type"]) == (403, "ForeignRequest")
        assert not any(name.lower().startswith("access-control-") for name in got)


def test_a_websocket_of_a_page_is_refused(cloud: Cloud) -> None:
    """Browsers open sockets to any host, and send the page's origin."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "https://evil.example"}  # fmt: skip
    assert send(cloud, "GET", "/_aws/execute-api/abcdef01/stage", **headers)[0] == 403


def test_a_bucket_may_serve_pages_of_its_cors_rules(cloud: Cloud, unique: str) -> None:
    """Presigned URLs, from the rules' origins and with their methods; nothing else of S3."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_object(Bucket=unique, Key="key", Body=b"content")
    url = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": unique, "Key": "key"}))
    address, page = f"{url.path}?{url.query}", {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}
    assert send(cloud, "GET", address, **page)[0] == 403
    rule = {"AllowedOrigins": ["https://shop.example"], "AllowedMethods": ["GET"]}
    s3.put_bucket_cors(Bucket=unique, CORSConfiguration={"CORSRules": [rule]})

    status, answer, headers = send(cloud, "GET", address, **page)

    assert (status, answer, headers["access-control-allow-origin"]) == (200, "content", "https://shop.example")
    requested = {"Access-Control-Request-Method": "GET"}
    assert send(cloud, "OPTIONS", url.path, **page, **requested)[0] == 200
    assert send(cloud, "OPTIONS", url.path, **page, **{"Access-Control-Request-Method": "PUT"})[0] == 403
    assert send(cloud, "GET", url.path, **page)[0] == 403  # the rule alone opens nothing
    assert send(cloud, "PUT", address, b"x", **page)[0] == 403
    assert send(cloud, "GET", address, **{**page, "Origin": "https://evil.example"})[0] == 403
    # links and images have no origin
    assert send(cloud, "GET", address, **{"Sec-Fetch-Site": "cross-site"})[0] == 200


def test_pages_of_an_app_reach_the_sign_in(cloud: Cloud) -> None:
    """They open Cognito's pages and request tokens; only Cognito's pages submit their form."""
    host = urlsplit(cloud.endpoint_url).netloc
    app = {"Sec-Fetch-Site": "cross-site"}
    requested = (
        ("GET", "/oauth2/authorize", app),
        ("GET", "/logout", app),
        ("POST", "/oauth2/token", {"Origin": "https://app.example"}),
        ("POST", "/login", {"Origin": "https://app.example"}),
        ("POST", "/login", {"Origin": f"http://{host}"}),
    )
    found = []
    for method, path, headers in requested:
        connection = http.client.HTTPConnection(host, timeout=30)
        try:
            connection.request(method, path, "", headers)
            answer = connection.getresponse()
            found.append((answer.status, answer.getheader("Access-Control-Allow-Origin")))
        finally:
            connection.close()

    assert [status for status, _ in found] == [400, 400, 400, 403, 400]
    assert found[2][1] == "*"


def test_a_page_at_its_own_name_uses_its_own_origin(cloud: Cloud, unique: str) -> None:
    """Other sites can link to it, but not embed images, scripts or forms."""
    name = make_site(cloud, unique)
    given = {"Host": name, "X-Forwarded-Proto": "https"}
    own = {**given, "Origin": f"https://{name}", "Sec-Fetch-Site": "same-origin"}
    link = {**given, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}

    assert send(cloud, "GET", "/", **own)[0] == 200
    assert send(cloud, "GET", "/", **link)[0] == 200
    foreign = [
        ("GET", {**link, "Sec-Fetch-Mode": "no-cors"}),
        ("GET", {**given, "Origin": "https://evil.example"}),
        ("GET", {**given, "Origin": f"http://127.0.0.1:{cloud.port}"}),
        ("POST", {**link, "Origin": "https://evil.example"}),
        ("GET", {**own, "Host": f"127.0.0.1:{cloud.port}"}),
        ("GET", {**own, "Host": "sts.us-east-1.amazonaws.com"}),
        ("GET", {**given, "Host": "other.cloudfront.net"}),
    ]
    posted = ("POST", {**given, "Origin": "https://evil.example"})
    cases = [("/", case) for case in foreign] + [("/oauth2/token", posted)]
    for path, (method, headers) in cases:
        status, answer, _ = send(cloud, method, path, **headers)
        assert (status, json.loads(answer)["__type"]) == (403, "ForeignRequest"), headers


@pytest.mark.parametrize("path", ["/_mlops/clock", "/_mlops/pages", "/_ministack/reset", "/_ministack/health"])
def test_a_page_at_its_own_name_reaches_nothing_of_ours(cloud: Cloud, unique: str, path: str) -> None:
    """On AWS these are paths of the distribution."""
    name = make_site(cloud, unique)
    for method in ("GET", "POST"):
        status, answer, _ = send(cloud, method, path, Host=name, Origin=f"https://{name}")
        assert (status, json.loads(answer)["__type"]) == (403, "ForeignRequest")
