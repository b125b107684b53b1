"""What signatures and IAM deny at an API: in the words of its gateway responses, as other refusals of the gateway.

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
    """Return what a caller gets who is refused where no gateway response can word it: without a REST API, or without its stage.

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
    """Answer what policies deny by the response ACCESS_DENIED of the API; MiniStack answers before it knows the API."""
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
        # an HTTP API has no such responses, and other refusals have the API's words already
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
