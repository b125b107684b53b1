"""The domain of a pool accepts only its own clients and tokens."""

from base64 import b64encode
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from tests.authenticator import Authenticator
from tests.local.cognito.conftest import App
from tests.local.cognito.test_factor_pages import answer, key_of


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
