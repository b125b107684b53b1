"""Settings of user pools and their app clients that MiniStack ignores, and settings that Cognito rejects.

It drops the rotation of refresh tokens, and its temporary passwords of invited users always have twelve characters, also
where the pool's policy wants more.
"""

import json
import secrets
import string
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ministack.core.responses import error_response_json
from ministack.services import cognito
from ministack.services.cloudformation import provisioners

ROTATION = "RefreshTokenRotation"
_REFRESHES = "ALLOW_REFRESH_TOKEN_AUTH"

_FIELD = "TemporaryPassword"


def install() -> None:
    """Check each client, store its refresh token rotation, and generate passwords that administrators do not give."""
    cognito._create_user_pool_client = partial(_written_client, cognito._create_user_pool_client)
    cognito._update_user_pool_client = partial(_written_client, cognito._update_user_pool_client)
    provisioners._COGNITO_USER_POOL_CLIENT_UPDATABLE[ROTATION] = None
    cognito._admin_create_user = partial(_created_user, cognito._admin_create_user)


def _written_client(write: Any, data: dict[str, Any]) -> Any:
    problem = next(_problems(data), None)
    if problem is not None:
        # claim: cognito-rotates-without-refresh-flow
        return error_response_json("InvalidParameterException", problem, 400)
    answer = write(data)
    if answer[0] != 200 or ROTATION not in data:
        return answer
    found = json.loads(answer[2])
    client = cognito._find_pool_by_client_id(found["UserPoolClient"]["ClientId"])[2]
    client[ROTATION] = found["UserPoolClient"][ROTATION] = data[ROTATION]
    return answer[0], answer[1], json.dumps(found).encode()


def _problems(data: Mapping[str, Any]) -> Iterator[str]:
    rotation, flows = data.get(ROTATION) or {}, data.get("ExplicitAuthFlows") or [_REFRESHES]
    if rotation.get("Feature") == "ENABLED" and _REFRESHES in flows:
        yield f"Refresh token rotation is not compatible with {_REFRESHES}, a default of ExplicitAuthFlows"
    if not 0 <= int(rotation.get("RetryGracePeriodSeconds", 0)) <= 60:
        yield f"RetryGracePeriodSeconds must be 0 to 60, got {rotation['RetryGracePeriodSeconds']}"
    for name in ("CallbackURLs", "LogoutURLs"):
        for each in data.get(name) or ():
            # claim: cognito-leads-back-by-https
            found = urlsplit(each)
            if found.fragment or not found.scheme or (found.scheme == "http" and found.hostname != "localhost"):
                yield f"{each} of {name} must be https, http://localhost or an app's own scheme, without a fragment"


def _created_user(create: Any, data: dict[str, Any]) -> Any:
    pool, _ = cognito._resolve_pool(data.get("UserPoolId"))
    if pool is None or data.get(_FIELD):
        return create(data)
    # claim: cognito-makes-temporary-passwords
    policy = (pool.get("Policies") or {}).get("PasswordPolicy") or {}
    made = cognito._generate_temp_password()  # contains each kind of character
    made += "".join(
        secrets.choice(string.ascii_letters) for _ in range(int(policy.get("MinimumLength", 8)) - len(made))
    )
    return create({**data, _FIELD: made})
