"""The user pool of a console and its app client."""

from collections.abc import Callable
from typing import Any

from mlops_constructs import Profile


def test_people_are_invited_and_have_a_second_factor(shown: Any) -> None:
    """Users have a chosen name, which records contain; an email address only recovers an account."""
    pool = shown.resource("AWS::Cognito::UserPool")

    assert pool["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"] is True
    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("ON", ["SOFTWARE_TOKEN_MFA"])
    assert pool["UserPoolAddOns"] == {"AdvancedSecurityMode": "ENFORCED"}
    assert pool["Policies"]["PasswordPolicy"]["MinimumLength"] == 14
    assert "UsernameAttributes" not in pool
    groups = {each["GroupName"] for each in shown.resources("AWS::Cognito::UserPoolGroup").values()}
    assert groups == {"reader", "on-call", "approver"}


def test_the_pages_have_a_client_without_a_secret(shown: Any) -> None:
    """Uses the code flow with refresh token rotation."""
    client = shown.resource("AWS::Cognito::UserPoolClient")

    assert client["AllowedOAuthFlows"] == ["code"]
    assert client["GenerateSecret"] is False
    assert client["RefreshTokenRotation"] == {"Feature": "ENABLED", "RetryGracePeriodSeconds": 10}
    assert client["ExplicitAuthFlows"] == ["ALLOW_USER_SRP_AUTH"]
    assert (client["AccessTokenValidity"], client["RefreshTokenValidity"]) == (60, 720)
    assert client["EnableTokenRevocation"] is True
    assert client["PreventUserExistenceErrors"] == "ENABLED"


def test_the_sign_in_page_reads_prompt_and_is_there(shown: Any) -> None:
    """Managed login has a branding, without which there would be no page."""
    branding = shown.resource("AWS::Cognito::ManagedLoginBranding")

    assert shown.resource("AWS::Cognito::UserPoolDomain")["ManagedLoginVersion"] == 2
    assert branding["UseCognitoProvidedValues"] is True
    assert branding["ClientId"]["Ref"] in shown.resources("AWS::Cognito::UserPoolClient")


def test_people_stay_in_production(make_shown: Callable[..., Any], shown: Any) -> None:
    """PRODUCTION retains users; DEVELOPMENT deletes them with the stack."""
    developed = make_shown(profile=Profile.DEVELOPMENT)
    developed.console()

    kept = [each.resource("AWS::Cognito::UserPool")["DeletionProtection"] for each in (shown, developed)]
    assert kept == ["ACTIVE", "INACTIVE"]
