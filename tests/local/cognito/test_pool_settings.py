"""App clients store their rotation settings, and are rejected as by Cognito; temporary passwords satisfy the pool's policy."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.cognito.conftest import App
from tests.local.cognito.test_token_rotation import rotation

from mlops_local.cloud import Cloud


@pytest.mark.parametrize("flows", [[], ["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]])
def test_rotation_takes_no_client_with_the_refresh_flow(make_app: Callable[..., App], flows: list[str]) -> None:
    """The refresh flow, a default, is incompatible with rotation."""
    with pytest.raises(ClientError, match="not compatible with ALLOW_REFRESH_TOKEN_AUTH"):
        make_app(ExplicitAuthFlows=flows, **rotation(0))
    with pytest.raises(ClientError, match="must be 0 to 60, got 61"):
        make_app(**rotation(61))


def test_a_client_says_how_it_rotates(make_app: Callable[..., App]) -> None:
    """The settings are returned after creation and after a change."""
    app = make_app(**rotation(7))
    client, where = app.cloud.client("cognito-idp"), {"UserPoolId": app.pool, "ClientId": app.id}

    def reported() -> Any:
        return {
            "RefreshTokenRotation": client.describe_user_pool_client(**where)["UserPoolClient"]["RefreshTokenRotation"]
        }

    assert reported() == rotation(7)
    client.update_user_pool_client(**where, ExplicitAuthFlows=["ALLOW_USER_SRP_AUTH"], **rotation(9))
    assert reported() == rotation(9)


@pytest.mark.parametrize("where", ["http://127.0.0.1:8000/", "http://app.example/", "https://app.example/#a", "app"])
@pytest.mark.parametrize("member", ["CallbackURLs", "LogoutURLs"])
def test_people_are_led_back_by_https(make_app: Callable[..., App], member: str, where: str) -> None:
    """Callback URLs are https, localhost, or an app's scheme."""
    with pytest.raises(ClientError, match=f"of {member} must be https"):
        make_app(**{member: [where]})
    make_app(**{member: ["http://localhost:8000/", "myapp://example", "https://app.example/"]})


def test_people_are_invited_without_a_password(cloud: Cloud) -> None:
    """Cognito generates one of the pool's minimum length; a shorter one of the administrator is rejected."""
    people = cloud.client("cognito-idp")
    policy = {"PasswordPolicy": {"MinimumLength": 20, "RequireSymbols": True}}
    pool = people.create_user_pool(PoolName="long", Policies=policy)["UserPool"]["Id"]
    try:
        made = people.admin_create_user(UserPoolId=pool, Username="ann", MessageAction="SUPPRESS")["User"]
        with pytest.raises(ClientError, match="InvalidPassword"):
            people.admin_create_user(UserPoolId=pool, Username="ben", TemporaryPassword="Aa1!aaaaaa")
    finally:
        people.delete_user_pool(UserPoolId=pool)

    assert (made["Username"], made["UserStatus"]) == ("ann", "FORCE_CHANGE_PASSWORD")
