"""Denials by signatures and IAM in the form of the API's gateway responses, like the gateway's other errors.

https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
"""

import json
from collections.abc import Mapping
from typing import Any

from ministack import app
from ministack.core.responses import new_uuid, request_scope
from ministack.services import apigateway
from ministack.services import apigateway_v1 as v1

from mlops_local import compat, own_names

compat.expect(
    "ministack.app",
    _enforce_execute_api="(api_id, stage, method, execute_path, headers, query_params, iam_action='execute-api:Invoke')",
)
compat.expect("ministack.services.apigateway", find_api_scope="(api_id)")
compat.expect(
    "ministack.services.apigateway_v1",
    _GatewayError=type,
    _rest_apis=object,
    authentication_error_response="(api_id, stage_name, error, headers, query_params)",
    find_api_scope="(api_id)",
)

_DENIED = "AccessDeniedException"


def forbidden() -> tuple[int, dict[str, str], bytes]:
    """Return the 403 response for an unknown REST API or stage, where no gateway response applies.

    Example:
        >>> forbidden()[0], forbidden()[2]
        (403, b'{"message":"Forbidden"}')
    """
    # claim: gateway-forbids-unknown-stages
    headers = {
        "Content-Type": "application/json",
        "x-amzn-ErrorType": "ForbiddenException",
        "x-amzn-requestid": new_uuid(),
    }
    return 403, headers, b'{"message":"Forbidden"}'


def install() -> None:
    """Return policy denials as the API's ACCESS_DENIED response; MiniStack denies before it has found the API."""
    enforce, unsigned = app._enforce_execute_api, v1.authentication_error_response
    v1.authentication_error_response = lambda *call: unsigned(*call) or forbidden()

    def enforced(  # noqa: PLR0917 - MiniStack's own signature
        api_id: str,
        stage: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        **more: Any,
    ) -> Any:
        scope, found = v1.find_api_scope(api_id), v1.stages_for_api(api_id).get(stage)
        if found is None and apigateway.find_api_scope(api_id) is None:
            return forbidden()
        api = {} if scope is None else v1._rest_apis.get_scoped(*scope, api_id, {})
        # claim: gateway-closes-its-own-address
        if api.get("disableExecuteApiEndpoint") and not own_names.is_api(headers.get("host", "")):
            return forbidden()
        denied = enforce(api_id, stage, method, path, headers, query, **more)
        # HTTP APIs have no gateway responses, and other denials have the API's form already
        if denied is None or scope is None or found is None or denied[1].get("x-amzn-errortype") != _DENIED:
            return denied
        # claim: gateway-denials-are-its-responses
        request = {
            "api_id": api_id, "stage_name": stage, "stage": found, "headers": headers,
            "query_params": query, "path_params": {}, "resource_path": "", "request_id": new_uuid(),
        }  # fmt: skip
        said = json.loads(denied[2]).get("message", "")
        with request_scope(*scope):
            return v1._gateway_error_response(v1._GatewayError("ACCESS_DENIED", said, _DENIED), request)

    app._enforce_execute_api = enforced
