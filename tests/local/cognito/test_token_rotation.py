"""Refresh tokens rotate if the client enables it, and end when they are revoked."""

import functools
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError
from tests.local.cognito.conftest import App, claims
from tests.local.cognito.test_refreshed_tokens import until_later


def rotation(grace: int) -> dict[str, object]:
    """Return the rotation property of a client."""
    return {"RefreshTokenRotation": {"Feature": "ENABLED", "RetryGracePeriodSeconds": grace}}


def test_a_refresh_gives_a_new_refresh_token(make_app: Callable[..., App]) -> None:
    """The new token expires with the first; the first becomes invalid."""
    app = make_app(**rotation(0))
    tokens = app.exchange(app.sign_in().back["code"]).json
    first, signed_in = tokens["refresh_token"], claims(tokens["access_token"])
    until_later(signed_in["iat"])
    second = app.refresh(first).json["refresh_token"]
    again, third = app.refresh(first), app.refresh(second)

    assert (again.status, again.json["error"]) == (400, "invalid_grant")
    assert third.status == 200
    assert claims(first)["exp"] == claims(second)["exp"] == claims(third.json["refresh_token"])["exp"]
    assert claims(third.json["access_token"])["auth_time"] == signed_in["auth_time"]


def test_the_api_rotates_by_an_operation_of_its_own(make_app: Callable[..., App]) -> None:
    """The API operation shares the tokens with the pages' endpoint; the refresh flow is rejected."""
    app = make_app(**rotation(0))
    client = app.cloud.client("cognito-idp")
    signed_in = app.exchange(app.sign_in().back["code"]).json
    first = signed_in["refresh_token"]

    def refresh(token: str) -> Any:
        return client.get_tokens_from_refresh_token(ClientId=app.id, RefreshToken=token)["AuthenticationResult"]

    until_later(claims(first)["iat"])
    second = refresh(first)
    third = refresh(second["RefreshToken"])
    with pytest.raises(ClientError, match="RefreshTokenReuseException"):
        refresh(first)
    for requested in (client.initiate_auth, functools.partial(client.admin_initiate_auth, UserPoolId=app.pool)):
        with pytest.raises(ClientError, match="Auth flow not enabled"):
            requested(
                ClientId=app.id,
                AuthFlow="REFRESH_TOKEN_AUTH",
                AuthParameters={"REFRESH_TOKEN": third["RefreshToken"]},
            )

    assert app.refresh(second["RefreshToken"]).json["error"] == "invalid_grant"
    assert app.refresh(third["RefreshToken"]).status == 200
    assert claims(third["RefreshToken"])["exp"] == claims(first)["exp"]
    assert claims(third["AccessToken"])["auth_time"] == claims(signed_in["access_token"])["auth_time"]


def test_the_old_one_is_valid_for_the_grace_period(make_app: Callable[..., App]) -> None:
    """For a client that lost the response."""
    app = make_app(**rotation(1))
    first = app.exchange(app.sign_in().back["code"]).json["refresh_token"]
    app.refresh(first)
    retried = app.refresh(first)
    ends = time.monotonic() + 20
    while (late := app.refresh(first)).status == 200:
        assert time.monotonic() < ends
        time.sleep(0.1)

    assert (retried.status, late.json["error"]) == (200, "invalid_grant")


def test_without_rotation_the_token_stays(app: App) -> None:
    """No new token is returned."""
    token = app.exchange(app.sign_in().back["code"]).json["refresh_token"]
    found = app.cloud.client("cognito-idp").get_tokens_from_refresh_token(ClientId=app.id, RefreshToken=token)

    assert ["refresh_token" in app.refresh(token).json for _ in range(2)] == [False, False]
    assert "RefreshToken" not in found["AuthenticationResult"]


def test_a_revoked_token_gives_nothing(app: App) -> None:
    """Another client cannot revoke it, and an access token cannot be revoked this way."""
    tokens = app.exchange(app.sign_in().back["code"]).json

    def revoke(token: str, client: str) -> int:
        return app.send("POST", "/oauth2/revoke", urlencode({"token": token, "client_id": client})).status

    assert [revoke(tokens["refresh_token"], "other"), revoke(tokens["access_token"], app.id)] == [401, 400]
    assert app.refresh(tokens["refresh_token"]).status == 200
    assert revoke(tokens["refresh_token"], app.id) == 200
    assert app.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
