"""Permission of an API to invoke a function: the function's resource policy, checked per method of the API."""

from ministack.core.responses import request_scope

from mlops_local.gateway.exchange import Exchange
from mlops_local.gateway.service_integrations import RoleError
from mlops_local.iam.deliveries import refuse_delivery

_SERVICE = "apigateway.amazonaws.com"


def require(exchange: Exchange) -> None:
    """Reject an integration if the function's policy does not allow this method.

    Raises:
        RoleError: If no statement of the function's policy allows it.
    """
    # claim: gateway-needs-the-functions-permission
    function = str(exchange.integration.get("uri")).partition("/functions/")[2].removesuffix("/invocations")
    place = f"{exchange.api['id']}/{exchange.stage['stageName']}/{exchange.method}{exchange.resource['path']}"
    source = f"arn:aws:execute-api:{exchange.region}:{exchange.account}:{place}"
    with request_scope(exchange.account, exchange.region):
        refusal = refuse_delivery(_SERVICE, source_arn=source, target_arn=function)
    if refusal is not None:
        raise RoleError(f"Invalid permissions on Lambda function: {refusal}")
