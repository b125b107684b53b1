"""Tokens contain the sign-in time and the user's groups, also after a refresh."""

import time
from collections.abc import Callable

from tests.local.cognito.conftest import App, claims


def until_later(before: int) -> None:
    """Wait until the next second."""
    while int(time.time()) <= before:
        time.sleep(0.05)


def test_refreshed_tokens_keep_the_time_and_have_the_groups(app: App) -> None:
    """A silent sign-in keeps the session's time; a new sign-in has a new one."""
    first = app.exchange(app.sign_in().back["code"]).json
    at = claims(first["access_token"])["auth_time"]
    until_later(at)
    refreshed = app.refresh(first["refresh_token"]).json
    silent = app.exchange(app.authorize(prompt="none").back["code"]).json
    later = app.refresh(silent["refresh_token"]).json

    for tokens in (refreshed, silent, later):
        for kind in ("access_token", "id_token"):
            found = claims(tokens[kind])
            assert (found["auth_time"], found["cognito:groups"], found["iat"] > at) == (at, ["on-call"], True)
    assert claims(app.exchange(app.sign_in().back["code"]).json["id_token"])["auth_time"] > at


def test_a_group_that_was_left_is_gone_at_the_next_refresh(app: App) -> None:
    """Permissions of a group end at the next refresh."""
    token = app.exchange(app.sign_in().back["code"]).json["refresh_token"]
    client = app.cloud.client("cognito-idp")
    client.admin_remove_user_from_group(UserPoolId=app.pool, Username="ann", GroupName="on-call")

    assert "cognito:groups" not in claims(app.refresh(token).json["access_token"])


def test_a_refresh_token_of_another_client_is_refused(make_app: Callable[..., App]) -> None:
    """A refresh token cannot be used twice, nor as an access token."""
    app, other = make_app(), make_app()
    token = app.exchange(app.sign_in().back["code"]).json["refresh_token"]

    assert app.refresh(token, client_id=other.id).json["error"] == "invalid_grant"
    assert app.refresh(token + "x").json["error"] == "invalid_grant"
    assert app.refresh(token).status == 200
