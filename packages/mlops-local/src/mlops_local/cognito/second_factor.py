"""Second factor of a user pool: codes of an authenticator app, which users must set up first if the pool requires MFA.

MiniStack lets users without an authenticator pass, accepts a code repeatedly, and accepts responses to challenges it never issued.
"""

import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import cognito

from mlops_local.saved_state import kept_stores

SETUP, CODE = "MFA_SETUP", "SOFTWARE_TOKEN_MFA"
_NEW_PASSWORD = "NEW_PASSWORD_REQUIRED"  # noqa: S105
# challenges that need a session of Cognito; text messages are never sent, so SMS_MFA never has one
_WITH_SESSION = {SETUP, CODE, _NEW_PASSWORD, "SMS_MFA"}
_STEP, _FREE_TRIES, _LONGEST_LOCK = (
    30,
    5,
    900,
)  # seconds, codes, seconds; the count is also reset after that time without a code


@dataclass(slots=True)
class _Challenge:
    """The challenge that an API session must answer; ``secret`` is for an authenticator to set up."""

    pool: str
    user: str
    name: str
    expires: float
    secret: str = ""
    is_verified: bool = False


_challenges: dict[str, _Challenge] = kept_stores.leave(__name__, "_challenges", {}, why="sign-ins in progress")


def install() -> None:
    """Require the second factor where the pool does."""
    cognito._mfa_challenge_for_user = _challenge
    cognito._password_auth_result = partial(_answered, cognito._password_auth_result)
    cognito._respond_to_auth_challenge = partial(_responded, cognito._respond_to_auth_challenge)
    cognito._admin_respond_to_auth_challenge = partial(_responded, cognito._admin_respond_to_auth_challenge)
    cognito._associate_software_token = partial(_associated, cognito._associate_software_token)
    cognito._verify_software_token = partial(_verified, cognito._verify_software_token)
    cognito._dispatch_idp = partial(_dispatched, cognito._dispatch_idp)


def required_challenge(pool: Mapping[str, Any], user: Mapping[str, Any]) -> str | None:
    """Return the challenge that follows a correct password; ``None`` if the user is signed in."""
    # claim: cognito-requires-a-second-factor
    mode = pool.get("MfaConfiguration", "OFF")
    if mode == "ON":
        return CODE if user.get("_totp_secret") else SETUP
    return CODE if mode == "OPTIONAL" and CODE in user.get("_mfa_enabled", []) else None


def takes_codes(pool: Mapping[str, Any]) -> bool:
    """Return whether users of a pool may set up an authenticator."""
    return bool((pool.get("SoftwareTokenMfaConfiguration") or {}).get("Enabled"))


def refusal(user: dict[str, Any], secret: str, code: str) -> tuple[str, str] | None:
    """Check and use up a code; return error and message if it is rejected, ``None`` if it is accepted."""
    now = time.time()
    failures, failed_at = user.get("_mfa_failures", (0, 0.0))
    # claim: cognito-locks-out-after-five-codes
    if failures >= _FREE_TRIES and now < failed_at + min(2 ** (failures - _FREE_TRIES), _LONGEST_LOCK):
        return "NotAuthorizedException", "Password attempts exceeded"
    # claim: cognito-takes-codes-of-three-steps
    found = [n for n in (-1, 0, 1) if hmac.compare_digest(cognito._totp_code(secret, n).encode(), code.encode())]
    if not found:
        user["_mfa_failures"] = [failures + 1 if now < failed_at + _LONGEST_LOCK else 1, now]
        return "CodeMismatchException", "Invalid code received for user"
    step = int(now // _STEP) + found[0]
    used, last = user.get("_totp_used", ("", 0))
    # claim: cognito-takes-a-code-once
    if used == secret and step <= last:
        return "ExpiredCodeException", "Your software token has already been used once."
    user["_totp_used"], user["_mfa_failures"] = [secret, step], [0, 0.0]
    return None


def enroll(user: dict[str, Any], secret: str) -> None:
    """Assign an authenticator that has produced a valid code to the user."""
    user["_totp_secret"], user["_preferred_mfa"] = secret, CODE
    user.pop("_totp_pending_secret", None)
    if CODE not in user.setdefault("_mfa_enabled", []):
        user["_mfa_enabled"].append(CODE)


def _challenge(pool: Mapping[str, Any], user: Mapping[str, Any], _pool_id: str, username: str) -> dict[str, Any] | None:
    name = required_challenge(pool, user)
    if name is None:
        return None
    more = {"FRIENDLY_DEVICE_NAME": "TOTP device"}
    if name == SETUP:
        more = {"MFAS_CAN_SETUP": json.dumps([CODE] if takes_codes(pool) else [])}
    parameters = {"USER_ID_FOR_SRP": username, **more}
    return {"ChallengeName": name, "Session": secrets.token_urlsafe(32), "ChallengeParameters": parameters}


def _remember(client_id: str, user: Mapping[str, Any], session: str, name: str, **more: Any) -> None:
    pool_id, _, client = cognito._find_pool_by_client_id(client_id)
    for key in [key for key, each in list(_challenges.items()) if each.expires < time.time()]:
        _challenges.pop(key, None)
    # claim: cognito-challenges-last-three-minutes
    expires = time.time() + 60 * int(client.get("AuthSessionValidity", 3))
    _challenges[session] = _Challenge(pool_id, user["Username"], name, expires, **more)


def _answered(
    answer_password: Any, pool: Any, pool_id: str, client_id: str, user: Any, *more: Any, **named: Any
) -> Any:
    answer = answer_password(pool, pool_id, client_id, user, *more, **named)
    found = json.loads(answer[2])
    if "Session" in found:
        _remember(client_id, user, found["Session"], found["ChallengeName"])
    return answer


def _open(session: Any, name: str) -> tuple[_Challenge, dict[str, Any]] | None:
    """Return a pending challenge and its user."""
    found = _challenges.get(session or "")
    if found is None or found.name != name or found.expires < time.time():
        return None
    user = ((cognito._get_pool_unscoped(found.pool) or {}).get("_users") or {}).get(found.user)
    return None if user is None else (found, user)


# claim: cognito-answers-its-own-challenges
def _no_session() -> Any:
    return error_response_json("NotAuthorizedException", "Invalid session for the user.", 400)


def _responded(respond: Any, data: dict[str, Any]) -> Any:
    name, session, client_id = data.get("ChallengeName", ""), data.get("Session", ""), data.get("ClientId", "")
    pool_id, pool, _ = cognito._find_pool_by_client_id(client_id)
    if name not in _WITH_SESSION or pool is None:
        return respond(data)
    given = data.get("ChallengeResponses") or {}
    named, found = cognito._resolve_user(pool, given.get("USERNAME"))[0], _open(session, name)
    # claim: cognito-answers-its-own-challenges
    if found is None or named is not found[1] or found[0].pool != pool_id:
        return _no_session()
    challenge, user = found
    if name == SETUP and not challenge.is_verified:
        return _no_session()
    if name == CODE:
        problem = refusal(user, user.get("_totp_secret", ""), given.get("SOFTWARE_TOKEN_MFA_CODE", ""))
        if problem is not None:
            return error_response_json(*problem, 400)
    answer = respond(data)
    if answer[0] != 200:
        return answer
    _challenges.pop(session, None)
    following = _challenge(pool, user, pool_id, user["Username"]) if name == _NEW_PASSWORD else None
    if following is None:
        return answer
    _remember(client_id, user, following["Session"], following["ChallengeName"])
    return json_response(following)


def _associated(associate: Any, data: dict[str, Any]) -> Any:
    if data.get("AccessToken"):
        return associate(data)
    found = _open(data.get("Session"), SETUP)
    if found is None:
        return _no_session()
    challenge, _ = found
    # claim: cognito-sets-up-what-a-pool-takes
    if not takes_codes(cognito._get_pool_unscoped(challenge.pool)):
        text = "Software Token MFA has not been enabled by the userPool."
        return error_response_json("SoftwareTokenMFANotFoundException", text, 400)
    answer = associate(data)
    made = json.loads(answer[2])
    del _challenges[data["Session"]]
    challenge.secret = made["SecretCode"]
    _challenges[made["Session"]] = challenge
    return answer


def _verified(verify: Any, data: dict[str, Any]) -> Any:
    challenge, session = None, data.get("Session", "")
    if data.get("AccessToken"):
        user = cognito._user_for_access_token(data["AccessToken"]) or {}
        secret = user.get("_totp_pending_secret", "")
    else:
        found = _open(session, SETUP)
        # set up in a parallel sign-in
        if found is None or found[1].get("_totp_secret"):
            return _no_session()
        challenge, user = found
        secret = challenge.secret
    if not secret:
        return verify(data)
    # claim: cognito-verifies-authenticators
    problem = refusal(user, secret, data.get("UserCode", ""))
    if problem is not None:
        mismatch = problem[0] == "CodeMismatchException"
        return error_response_json(
            *(("EnableSoftwareTokenMFAException", "Code mismatch") if mismatch else problem), 400
        )
    enroll(user, secret)
    if challenge is None:
        return json_response({"Status": "SUCCESS"})
    del _challenges[session]
    challenge.is_verified = True
    following = secrets.token_urlsafe(32)
    _challenges[following] = challenge
    return json_response({"Status": "SUCCESS", "Session": following})


async def _dispatched(dispatch: Any, action: str, data: dict[str, Any]) -> Any:
    return _deleted(data) if action == "AdminDeleteSoftwareToken" else await dispatch(action, data)


# claim: cognito-administrators-delete-authenticators
def _deleted(data: Mapping[str, Any]) -> Any:
    pool, error = cognito._resolve_pool(data.get("UserPoolId"))
    if error:
        return error
    user, error = cognito._resolve_user(pool, data.get("Username"))
    if error:
        return error
    user.pop("_totp_secret", None)
    user["_mfa_enabled"] = [each for each in user.get("_mfa_enabled", []) if each != CODE]
    if user.get("_preferred_mfa") == CODE:
        user["_preferred_mfa"] = ""
    return json_response({})
