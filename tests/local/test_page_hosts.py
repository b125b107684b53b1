"""Pages at AWS's host names, through the proxy and with a shell's certificates."""

import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import httpx
import pytest
from tests.authenticator import Authenticator
from tests.local.cognito.conftest import App, made_apps
from tests.local.cognito.test_factor_pages import answer, key_of
from tests.local.site import BACK, make_sign_in, make_site

from mlops_local.cloud import Cloud


def _client(cloud: Cloud, *, proxy: str = "") -> httpx.Client:
    environment = cloud.environment()
    context = ssl.create_default_context(cafile=environment["AWS_CA_BUNDLE"])
    return httpx.Client(proxy=proxy or environment["HTTPS_PROXY"], verify=context, trust_env=False, timeout=30)


def test_a_page_is_read_at_the_name_of_its_distribution(cloud: Cloud, unique: str) -> None:
    """Over TLS; HTTP is redirected to it."""
    name = make_site(cloud, unique)
    with _client(cloud) as client:
        read, led = client.get(f"https://{name}/"), client.get(f"http://{name}/index.html?a=1")

    assert (read.status_code, "<title>site</title>" in read.text) == (200, True)
    assert (led.status_code, led.headers["location"]) == (301, f"https://{name}/index.html?a=1")
    assert f"https://{name}" in cloud.status()["pages"]


@pytest.mark.parametrize("path", ["logout", "oauth2/authorize", "oauth2/userInfo"])
def test_every_path_is_the_distributions(cloud: Cloud, unique: str, path: str) -> None:
    """Apps may have pages at Cognito's paths."""
    name = make_site(cloud, unique)
    cloud.client("s3").put_object(Bucket=unique, Key=path, Body=b"of the app")
    with _client(cloud) as client:
        read, refused = client.get(f"https://{name}/{path}"), client.post(f"https://{name}/oauth2/token", data={})

    assert (read.status_code, read.text) == (200, "of the app")
    assert (refused.status_code, "cloudfront" in refused.headers["x-cache"].lower()) == (403, True)


def test_a_pool_signs_people_in_at_its_name(cloud: Cloud, unique: str) -> None:
    """For its clients, as at the embedded cloud's own address."""
    name, client_id = make_sign_in(cloud, unique)
    requested = {"response_type": "code", "client_id": client_id, "redirect_uri": BACK, "scope": "openid"}
    with _client(cloud) as client:
        page = client.get(f"https://{name}/oauth2/authorize", params=requested)
        refused = client.get(f"https://{name}/oauth2/authorize", params={**requested, "redirect_uri": f"{BACK}x"})

    assert (page.status_code, "password" in page.text) == (200, True), page.text
    assert refused.status_code == 400


def test_pages_are_for_everyone(cloud: Cloud, unique: str) -> None:
    """As on AWS: a browser sends no proxy password, and reaches nothing else without it."""
    name = make_site(cloud, unique)
    with _client(cloud, proxy=f"http://127.0.0.1:{cloud.proxy_port}") as client:
        assert client.get(f"https://{name}/").status_code == 200
        for other in ("https://sts.us-east-1.amazonaws.com/", "https://other.cloudfront.net/", f"https://{name}:8443/"):
            with pytest.raises(httpx.ProxyError, match="407"):
                client.get(other)


def test_pages_of_others_are_not_served(cloud: Cloud, unique: str) -> None:
    """A pool of another prefix or region is AWS's, and another distribution is passed on."""
    own, _ = make_sign_in(cloud, unique)
    with _client(cloud) as client:
        for name in (f"x{own}", own.replace("us-east-1", "eu-west-1"), f"a.{own}"):
            with pytest.raises(httpx.ProxyError, match=r"403 .*is AWS's and not in the embedded cloud"):
                client.get(f"https://{name}/oauth2/authorize")


@pytest.fixture
def make_app(cloud: Cloud) -> Iterator[Callable[..., App]]:
    """Make a pool with an app: ``make_app(mfa="ON")``."""
    yield from made_apps(cloud)


@pytest.fixture
def apps(make_app: Callable[..., App]) -> tuple[App, App]:
    """Two pools with an app each."""
    return make_app(), make_app()


def name_of(app: App) -> str:
    """Return the domain of a pool's pages."""
    domain = app.cloud.client("cognito-idp").describe_user_pool(UserPoolId=app.pool)["UserPool"]["Domain"]
    return f"{domain}.auth.us-east-1.amazoncognito.com"


def test_clients_of_another_pool_are_unknown(apps: tuple[App, App]) -> None:
    """For a page, a form, a code, a revocation, and by a client's name and secret."""
    app, other = apps
    own, foreign = name_of(app), name_of(other)
    code = app.sign_in().back["code"]
    exchange = urlencode({"grant_type": "authorization_code", "client_id": app.id, "code": code})
    form = urlencode({**app.asks(), "username": "ann", "password": "no matter which"})
    basic = b64encode(f"{app.id}:secret".encode()).decode()
    refused = [
        app.send("GET", f"/oauth2/authorize?{urlencode(app.asks())}", Host=foreign),
        app.send("GET", f"/logout?{urlencode({'client_id': app.id})}", Host=foreign),
        app.send("POST", "/login", form, Host=foreign),
        app.send("POST", "/oauth2/token", exchange, Host=foreign),
        app.send("POST", "/oauth2/revoke", urlencode({"client_id": app.id, "token": "t"}), Host=foreign),
        app.send(
            "POST", "/oauth2/token", "grant_type=authorization_code", Host=foreign, Authorization=f"Basic {basic}"
        ),
    ]
    app.cookies.clear()

    assert [(each.status, each.json["error"]) for each in refused] == [(400, "invalid_client")] * len(refused)
    assert app.send("GET", f"/oauth2/authorize?{urlencode(app.asks())}", Host=own).status == 200
    assert app.exchange(code).status == 200


def test_tokens_of_another_pool_say_nothing(apps: tuple[App, App]) -> None:
    """At the pool's own domain they identify the user."""
    app, other = apps
    token = app.exchange(app.sign_in(scope="openid").back["code"]).json["access_token"]

    found = [
        app.send("GET", "/oauth2/userInfo", Host=name_of(each), Authorization=f"Bearer {token}")
        for each in (app, other)
    ]

    assert [each.status for each in found] == [200, 401]
    assert found[0].json["username"] == "ann"


def test_a_second_factor_is_given_at_the_pool_that_asked(make_app: Callable[..., App], apps: tuple[App, App]) -> None:
    """A form sent to another pool is rejected, and may then be sent to its own pool."""
    app = make_app(mfa="ON")
    page = app.sign_in()
    authenticator = Authenticator(key_of(page) or "")
    fields = {"factor_token": page.body.partition('name="factor_token" value="')[2].partition('"')[0], "code": "000000"}

    assert app.send("POST", "/login", urlencode(fields), Host=name_of(apps[1])).json["error"] == "invalid_client"
    assert "code" in answer(app, page, authenticator.code()).back
