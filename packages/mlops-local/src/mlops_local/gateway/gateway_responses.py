"""Gateway responses: the errors of the gateway, and denials by signatures and IAM, in the form that the API defines.

Their templates have all variables of ``$context``, without VTL.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gatewayResponse-definition.html and
https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from ministack import app
from ministack.core.responses import new_uuid, request_scope
from ministack.services import apigateway
from ministack.services import apigateway_v1 as v1

from mlops_local import own_names
from mlops_local.gateway.exchange import Answer, Exchange

_VARIABLE = re.compile(r"\$(?:\{context\.([A-Za-z.]{1,100})\}|context\.([A-Za-z]{1,50}(?:\.[A-Za-z]{1,50}){0,4}))")

_DENIED = "AccessDeniedException"


def answer(error: Any, exchange: Exchange) -> Answer:
    """Render a gateway error, as MiniStack describes it."""
    # claim: gateway-responses-know-the-context
    exchange.context["error"] = {
        "message": error.message or "", "messageString": json.dumps(error.message), "responseType": error.response_type,
        **(exchange.context["error"] or {}),
    }  # fmt: skip
    status, headers, body = v1._gateway_error_response(error, {
        "api_id": exchange.api["id"], "stage_name": exchange.stage["stageName"], "stage": exchange.stage,
        "headers": exchange.headers, "query_params": exchange.query, "path_params": exchange.path_parameters,
        "resource_path": exchange.resource.get("path", ""), "request_id": exchange.context["requestId"],
    })  # fmt: skip
    # MiniStack replaces the variables that it supports and leaves the others unchanged
    text = _VARIABLE.sub(lambda found: _value(exchange.context, found[1] or found[2]), body.decode())
    return Answer(status, headers, text.encode())


def _value(context: Mapping[str, Any], name: str) -> str:
    node: Any = context
    for part in name.split("."):
        node = node.get(part, "") if isinstance(node, Mapping) else ""
    return json.dumps(str(node))[1:-1]


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
        denial = json.loads(denied[2]).get("message", "")
        with request_scope(*scope):
            return v1._gateway_error_response(v1._GatewayError("ACCESS_DENIED", denial, _DENIED), request)

    app._enforce_execute_api = enforced
