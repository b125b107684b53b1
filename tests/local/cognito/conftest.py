"""Fixtures: a user pool with hosted pages, an app client, and a browser that keeps the pages' cookie."""

import base64
import hashlib
import http.client
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from mlops_local.cloud import Cloud

BACK, PASSWORD = "https://app.example/", "Aa1!aaaaaa"
_number = itertools.count(1)


class Seen(NamedTuple):
    """A response to a browser; ``back`` are the parameters of a redirect to the app."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def back(self) -> dict[str, str]:
        """Query parameters of the redirect's address."""
        place = urlsplit(self.headers.get("location", ""))
        return {name: values[0] for name, values in parse_qs(place.query).items()}

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


@dataclass
class App:
    """An app client of a pool, with its PKCE verifier."""

    cloud: Cloud
    pool: str
    id: str
    verifier: str = "v" * 43
    cookies: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, body: str = "", **headers: str) -> Seen:
        """Send a request as a browser does; stores and deletes the cookie that a response sets."""
        given = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection(urlsplit(self.cloud.endpoint_url).netloc, timeout=30)
        try:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            seen = Seen(answer.status, found, answer.read().decode())
        finally:
            connection.close()
        cookie = re.match(r"(\w+)=([^;]*);.*Max-Age=(\d+)", found.get("set-cookie", ""))
        if cookie and cookie[3] == "0":
            self.cookies.pop(cookie[1], None)
        elif cookie:
            self.cookies[cookie[1]] = cookie[2]
        return seen

    def asks(self, **more: str) -> dict[str, str]:
        """Return the parameters of an authorization request."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        requested = {"response_type": "code", "client_id": self.id, "redirect_uri": BACK, "state": "s1", "nonce": "n1"}
        return {**requested, "code_challenge": challenge, "code_challenge_method": "S256", "scope": "openid", **more}

    def authorize(self, **more: str) -> Seen:
        """Open the sign-in page."""
        return self.send("GET", f"/oauth2/authorize?{urlencode(self.asks(**more))}")

    def sign_in(self, password: str = PASSWORD, **more: str) -> Seen:
        """Submit the form of the sign-in page as ann."""
        return self.send("POST", "/login", urlencode({**self.asks(**more), "username": "ann", "password": password}))

    def token(self, **fields: str) -> Seen:
        """Call the token endpoint."""
        return self.send("POST", "/oauth2/token", urlencode({"client_id": self.id, **fields}))

    def exchange(self, code: str, **more: str) -> Seen:
        """Exchange a code for tokens."""
        fields = {"code": code, "redirect_uri": BACK, "code_verifier": self.verifier, **more}
        return self.token(grant_type="authorization_code", **fields)

    def refresh(self, token: str, **more: str) -> Seen:
        """Refresh the tokens."""
        return self.token(grant_type="refresh_token", refresh_token=token, **more)


def claims(token: str) -> dict[str, Any]:
    """Return the claims of a token."""
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


def made_apps(cloud: Cloud) -> Iterator[Callable[..., App]]:
    """Yield a function that makes a pool with an app, and delete the pools afterwards."""
    client, pools = cloud.client("cognito-idp"), []

    def made(
        *, version: int = 2, domain: bool = True, branded: bool = True, mfa: str = "OFF", authenticators: bool = True,
        **more: Any,
    ) -> App:  # fmt: skip
        pool = client.create_user_pool(PoolName=f"people{next(_number)}")["UserPool"]["Id"]
        pools.append(pool)
        if mfa != "OFF":
            factor = {"SoftwareTokenMfaConfiguration": {"Enabled": authenticators}}
            client.set_user_pool_mfa_config(UserPoolId=pool, MfaConfiguration=mfa, **factor)
        name = f"{pool.lower().replace('_', '-')}-pages"
        if domain:
            client.create_user_pool_domain(UserPoolId=pool, Domain=name, ManagedLoginVersion=version)
        app = client.create_user_pool_client(
            UserPoolId=pool,
            ClientName="app",
            AllowedOAuthFlows=["code"],
            AllowedOAuthFlowsUserPoolClient=True,
            AllowedOAuthScopes=["openid"],
            SupportedIdentityProviders=["COGNITO"],
            **{
                "CallbackURLs": [BACK],
                "LogoutURLs": [BACK],
                "ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"],
                **more,
            },
        )["UserPoolClient"]["ClientId"]
        if branded:
            client.create_managed_login_branding(UserPoolId=pool, ClientId=app, UseCognitoProvidedValues=True)
        client.create_group(UserPoolId=pool, GroupName="on-call")
        client.admin_create_user(UserPoolId=pool, Username="ann", MessageAction="SUPPRESS")
        client.admin_set_user_password(UserPoolId=pool, Username="ann", Password=PASSWORD, Permanent=True)
        client.admin_add_user_to_group(UserPoolId=pool, Username="ann", GroupName="on-call")
        return App(cloud, pool, app)

    yield made
    for pool in pools:
        for name in [client.describe_user_pool(UserPoolId=pool)["UserPool"].get("Domain")]:
            if name:
                client.delete_user_pool_domain(UserPoolId=pool, Domain=name)
        client.delete_user_pool(UserPoolId=pool)


@pytest.fixture
def make_app(cloud: Cloud) -> Iterator[Callable[..., App]]:
    """Make a pool with an app: ``make_app(version=2, domain=True, RefreshTokenRotation=...)``."""
    yield from made_apps(cloud)


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    """A pool with managed login and an app without rotation."""
    return make_app()
