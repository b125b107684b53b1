"""``AWS`` integrations: with the SageMaker runtime and S3 directly, and the permission that those with functions need.

https://docs.aws.amazon.com/apigateway/latest/api/API_PutIntegration.html#apigw-PutIntegration-request-uri
"""

import logging
import re
from typing import NamedTuple
from urllib.parse import parse_qsl

from ministack.core.responses import request_scope

from mlops_local.gateway import integration_mappings, service_calls
from mlops_local.gateway.exchange import Answer, Exchange
from mlops_local.gateway.integration_mappings import IntegrationRequest
from mlops_local.gateway.parameter_mappings import Payload
from mlops_local.gateway.service_calls import ServiceCall
from mlops_local.iam.authorization import AccessDeniedError
from mlops_local.iam.deliveries import refuse_delivery

LOGGER = logging.getLogger(__name__)
_URI = re.compile(r"arn:[\w-]+:apigateway:([\w-]+):([\w.-]+):path/(.*)", re.DOTALL)
# the service's name in URIs, and in signatures
SERVICES = {"runtime.sagemaker": "sagemaker", "s3": "s3"}
_SERVICE = "apigateway.amazonaws.com"


class RoleError(RuntimeError):
    """API Gateway may not assume the integration's role: 500."""


class ServiceUri(NamedTuple):
    """The parts of an integration's ``uri``: Region, service name in signatures, and path with query."""

    region: str
    service: str
    path: str


def service_uri(uri: str) -> ServiceUri | None:
    """Parse the URI of a service with a path; ``None`` for any other URI.

    Example:
        >>> service_uri("arn:aws:apigateway:us-east-1:runtime.sagemaker:path/endpoints/demand/invocations")
        ServiceUri(region='us-east-1', service='sagemaker', path='/endpoints/demand/invocations')
    """
    found = _URI.fullmatch(uri)
    if found is None or found[2] not in SERVICES:
        return None
    return ServiceUri(found[1], SERVICES[found[2]], "/" + found[3].removeprefix("/"))


async def serve(exchange: Exchange, uri: ServiceUri) -> Answer:
    """Serve a request from the service that its integration names.

    Raises:
        RoleError: If the role may not be assumed.
        TimeoutError: If the integration's timeout passes without a response.
        UnsupportedMediaTypeError: If the body's type is rejected.
        TemplateError: If a template cannot be evaluated.
        MappingError: If the response cannot be mapped.
    """
    # claim: gateway-calls-services-as-its-role
    request = integration_mappings.build(exchange)
    source = (
        f"arn:aws:execute-api:{exchange.region}:{exchange.account}:{exchange.api['id']}/{exchange.stage['stageName']}"
    )
    try:
        session = service_calls.assume(
            str(exchange.integration.get("credentials") or ""),
            source_arn=f"{source}/{exchange.method}{exchange.resource['path']}",
            account=exchange.account,
            region=exchange.region,
        )
    except AccessDeniedError as error:
        raise RoleError(str(error)) from error
    # claim: gateway-integrations-time-out
    timeout = int(exchange.integration.get("timeoutInMillis") or 29_000) / 1000
    found = await service_calls.send(_call(exchange, uri, request), session, region=uri.region, timeout=timeout)
    exchange.context["integrationStatus"] = found.status
    return integration_mappings.answer(exchange, found.status, Payload(found.headers, found.body))


def _call(exchange: Exchange, uri: ServiceUri, request: IntegrationRequest) -> ServiceCall:
    path, _, fixed = uri.path.partition("?")
    for name, value in request.path.items():
        path = path.replace("{" + name + "}", value)
    verb = exchange.integration.get("httpMethod") or "POST"
    query = {**dict(parse_qsl(fixed, keep_blank_values=True)), **request.query}
    return ServiceCall(
        uri.service, exchange.method if verb == "ANY" else verb, path, query, request.headers, request.body
    )


def require_function_permission(exchange: Exchange) -> None:
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
