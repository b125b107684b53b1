"""Gateway responses for the gateway's own errors: templates with all variables of ``$context``, without VTL.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gatewayResponse-definition.html
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from ministack.services import apigateway_v1 as v1

from mlops_local import compat
from mlops_local.gateway.exchange import Answer, Exchange

compat.expect("ministack.services.apigateway_v1", _gateway_error_response="(error, request)")

_VARIABLE = re.compile(r"\$(?:\{context\.([A-Za-z.]{1,100})\}|context\.([A-Za-z]{1,50}(?:\.[A-Za-z]{1,50}){0,4}))")


def answer(error: Any, exchange: Exchange) -> Answer:
    """Render a gateway error.

    Args:
        error: MiniStack's description of the error.
        exchange: The request.
    """
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
