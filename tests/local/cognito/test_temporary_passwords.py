"""Temporary passwords of invited users."""

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud


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
