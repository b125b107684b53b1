"""The API challenges for the second factor, and accepts each code once."""

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.authenticator import STEP, Authenticator, code_of
from tests.local.cognito.conftest import PASSWORD, App

FLOWS = {"ExplicitAuthFlows": ["ALLOW_ADMIN_USER_PASSWORD_AUTH"]}


class Api:
    """The operations of a sign-in as ann."""

    def __init__(self, app: App) -> None:
        self.client, self.app = app.cloud.client("cognito-idp"), app

    def initiate(self) -> Any:
        """Send the password."""
        named = {"USERNAME": "ann", "PASSWORD": PASSWORD}
        return self.client.admin_initiate_auth(
            UserPoolId=self.app.pool, ClientId=self.app.id, AuthFlow="ADMIN_USER_PASSWORD_AUTH", AuthParameters=named
        )

    def respond(self, name: str, session: str, **more: str) -> Any:
        """Respond to a challenge."""
        return self.client.respond_to_auth_challenge(
            ClientId=self.app.id,
            ChallengeName=name,
            Session=session,
            ChallengeResponses={"USERNAME": "ann", **more},
        )

    def enroll(self) -> Authenticator:
        """Set up an authenticator by the session of a sign-in, which completes the sign-in."""
        associated = self.client.associate_software_token(Session=self.initiate()["Session"])
        found = Authenticator(associated["SecretCode"])
        verified = self.client.verify_software_token(Session=associated["Session"], UserCode=found.code())
        assert verified["Status"] == "SUCCESS"
        assert "AccessToken" in self.respond("MFA_SETUP", verified["Session"])["AuthenticationResult"]
        return found

    def answer(self, code: str) -> Any:
        """Sign in with a code."""
        return self.respond("SOFTWARE_TOKEN_MFA", self.initiate()["Session"], SOFTWARE_TOKEN_MFA_CODE=code)


@pytest.fixture
def api(make_app: Callable[..., App]) -> Api:
    """A pool with required MFA."""
    return Api(make_app(mfa="ON", **FLOWS))


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    """Return the error code of a call."""
    with pytest.raises(ClientError) as found:
        call()
    error = found.value.response["Error"]
    return error["Code"], error["Message"]


def test_the_helper_computes_as_the_rfc() -> None:
    """The test vectors of appendix B, by their last six digits."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # 12345678901234567890
    assert [code_of(secret, at // STEP) for at in (59, 1111111109, 2000000000)] == ["287082", "081804", "279037"]


def test_a_person_sets_up_a_factor_before_the_first_tokens(api: Api) -> None:
    """Later sign-ins ask for a code."""
    first = api.initiate()
    api.enroll()
    second = api.initiate()

    assert (first["ChallengeName"], "AuthenticationResult" in first) == ("MFA_SETUP", False)
    assert first["ChallengeParameters"]["MFAS_CAN_SETUP"] == '["SOFTWARE_TOKEN_MFA"]'
    assert (second["ChallengeName"], "AuthenticationResult" in second) == ("SOFTWARE_TOKEN_MFA", False)


def test_a_new_password_does_not_stand_for_the_factor(api: Api) -> None:
    """An invited user sets a password, then an authenticator."""
    api.client.admin_set_user_password(UserPoolId=api.app.pool, Username="ann", Password=PASSWORD, Permanent=False)
    found = api.respond("NEW_PASSWORD_REQUIRED", api.initiate()["Session"], NEW_PASSWORD="Cc3!cccccc")

    assert (found["ChallengeName"], "AuthenticationResult" in found) == ("MFA_SETUP", False)
    assert "SecretCode" in api.client.associate_software_token(Session=found["Session"])


def test_a_code_is_taken_once(api: Api) -> None:
    """Also the code of the setup; codes of the adjacent time steps are accepted too, no others."""
    authenticator = api.enroll()
    used, now = code_of(authenticator.secret, authenticator._last), int(time.time() // STEP)
    again = refused(lambda: api.answer(used))
    far = [refused(lambda step=step: api.answer(code_of(authenticator.secret, step))) for step in (now - 3, now + 3)]  # type: ignore[misc]

    assert again == ("ExpiredCodeException", "Your software token has already been used once.")
    assert [code for code, _ in far] == ["CodeMismatchException"] * 2
    assert "AccessToken" in api.answer(authenticator.code())["AuthenticationResult"]


@pytest.mark.parametrize("name", ["MFA_SETUP", "SOFTWARE_TOKEN_MFA", "SMS_MFA", "NEW_PASSWORD_REQUIRED"])
def test_a_challenge_that_was_not_given_is_not_answered(api: Api, name: str) -> None:
    """Rejects a response without a session, or with that of another challenge."""
    authenticator = api.enroll()
    wrong = api.initiate()["Session"] if name != "SOFTWARE_TOKEN_MFA" else "s" * 32
    more = {"SOFTWARE_TOKEN_MFA_CODE": authenticator.code(), "NEW_PASSWORD": "Cc3!cccccc", "SMS_MFA_CODE": "1"}

    assert refused(lambda: api.respond(name, wrong, **more)) == (
        "NotAuthorizedException",
        "Invalid session for the user.",
    )


def test_a_setup_that_was_not_verified_gives_nothing(api: Api) -> None:
    """Neither its session, that of the associated key, a wrong code, nor a parallel setup gives tokens."""
    first, beside = api.initiate()["Session"], api.initiate()["Session"]
    associated = api.client.associate_software_token(Session=first)
    other = api.client.associate_software_token(Session=beside)

    def verify(of: Any, code: str) -> Any:
        return api.client.verify_software_token(Session=of["Session"], UserCode=code)

    code = code_of(associated["SecretCode"], int(time.time() // STEP) + 5)
    assert refused(lambda: api.respond("MFA_SETUP", associated["Session"]))[0] == "NotAuthorizedException"
    assert refused(lambda: verify(associated, code)) == ("EnableSoftwareTokenMFAException", "Code mismatch")
    api.enroll()
    assert refused(lambda: verify(other, Authenticator(other["SecretCode"]).code()))[0] == "NotAuthorizedException"


def test_five_wrong_codes_lock_a_person_out(api: Api) -> None:
    """For a second, doubled by each further wrong code; the right code is rejected too."""
    authenticator = api.enroll()
    wrong = code_of(authenticator.secret, int(time.time() // STEP) + 9)
    found = [refused(lambda: api.answer(wrong)) for _ in range(5)]
    ends = time.monotonic() + 60
    while (after := refused(lambda: api.answer(wrong)))[0] == "CodeMismatchException":
        assert time.monotonic() < ends

    assert [code for code, _ in found] == ["CodeMismatchException"] * 5
    assert after == ("NotAuthorizedException", "Password attempts exceeded")


def test_an_administrator_deletes_an_authenticator(api: Api) -> None:
    """A user who lost it sets up another at the next sign-in."""
    who = {"UserPoolId": api.app.pool, "Username": "ann"}
    api.enroll()
    before = api.client.admin_get_user(**who)["UserMFASettingList"]
    api.client.admin_delete_software_token(**who)

    assert (before, api.client.admin_get_user(**who)["UserMFASettingList"]) == (["SOFTWARE_TOKEN_MFA"], [])
    assert api.initiate()["ChallengeName"] == "MFA_SETUP"
    api.enroll()


def test_a_challenge_lasts_as_long_as_the_client_says(api: Api) -> None:
    """An expired challenge is rejected, on the pages too. Zero minutes, less than AWS allows, avoid a wait in the test."""
    code = api.enroll().code()
    unchecked = boto3.client(
        "cognito-idp",
        endpoint_url=api.app.cloud.endpoint_url,
        region_name="us-east-1",
        config=Config(parameter_validation=False),
        **api.app.cloud.root_keys(),
    )
    unchecked.update_user_pool_client(UserPoolId=api.app.pool, ClientId=api.app.id, AuthSessionValidity=0, **FLOWS)
    page = api.app.sign_in()
    (token,) = re.findall(r'name="factor_token" value="([^"]*)"', page.body)
    sent = api.app.send("POST", "/login", urlencode({"factor_token": token, "code": code}))

    assert refused(lambda: api.answer(code))[1] == "Invalid session for the user."
    assert (sent.status, "Session has expired" in sent.body) == (400, True)


def test_a_pool_without_authenticators_sets_up_none(make_app: Callable[..., App]) -> None:
    """Cognito would ask for an SMS code, which the embedded cloud does not send."""
    api = Api(make_app(mfa="ON", authenticators=False, **FLOWS))
    found = api.initiate()

    assert found["ChallengeParameters"]["MFAS_CAN_SETUP"] == "[]"
    assert refused(lambda: api.client.associate_software_token(Session=found["Session"])) == (
        "SoftwareTokenMFANotFoundException",
        "Software Token MFA has not been enabled by the userPool.",
    )
    assert api.app.sign_in().status == 400


def test_where_it_is_optional_who_has_none_signs_in(make_app: Callable[..., App]) -> None:
    """A user who sets one up by an access token is asked for it afterwards."""
    api = Api(make_app(mfa="OPTIONAL", **FLOWS))
    token = api.initiate()["AuthenticationResult"]["AccessToken"]
    secret = api.client.associate_software_token(AccessToken=token)["SecretCode"]
    authenticator = Authenticator(secret)
    api.client.verify_software_token(AccessToken=token, UserCode=authenticator.code())

    assert api.initiate()["ChallengeName"] == "SOFTWARE_TOKEN_MFA"
    assert "AccessToken" in api.answer(authenticator.code())["AuthenticationResult"]
