"""App clients of user pools: settings that MiniStack drops, and requests that Cognito rejects."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from ministack.core.responses import error_response_json
from ministack.services import cognito
from ministack.services.cloudformation import provisioners

from mlops_local import compat

compat.expect("ministack.core.responses", error_response_json=object)
compat.expect(
    "ministack.services.cognito",
    _create_user_pool_client="(data)",
    _find_pool_by_client_id="(client_id)",
    _update_user_pool_client="(data)",
)
compat.expect("ministack.services.cloudformation.provisioners", _COGNITO_USER_POOL_CLIENT_UPDATABLE=dict)

ROTATION = "RefreshTokenRotation"
_REFRESHES = "ALLOW_REFRESH_TOKEN_AUTH"


def install() -> None:
    """Check each client on create and update, and store its refresh token rotation."""
    cognito._create_user_pool_client = _keeping(cognito._create_user_pool_client)
    cognito._update_user_pool_client = _keeping(cognito._update_user_pool_client)
    provisioners._COGNITO_USER_POOL_CLIENT_UPDATABLE[ROTATION] = None


def _keeping(write: Any) -> Any:
    def written(data: dict[str, Any]) -> Any:
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

    return written


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
