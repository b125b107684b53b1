"""Execution of a request to a REST API: routing, authorization, limits, checks, integration, response."""

import json
import logging
import time
from typing import Any

from ministack.services import apigateway_v1 as v1

from mlops_local.gateway import (
    deployments,
    firewall,
    gateway_responses,
    http_integrations,
    integration_mappings,
    mapping_templates,
    request_checks,
    request_telemetry,
    service_integrations,
)
from mlops_local.gateway.exchange import Answer, Exchange
from mlops_local.gateway.gateway_responses import forbidden
from mlops_local.gateway.http_integrations import BackendError
from mlops_local.gateway.integration_mappings import MappingError, UnsupportedMediaTypeError, template
from mlops_local.gateway.mapping_templates import TemplateError
from mlops_local.gateway.parameter_mappings import Payload
from mlops_local.gateway.service_integrations import RoleError

LOGGER = logging.getLogger(__name__)
Response = tuple[int, dict[str, str], bytes]
_JSON = {"Content-Type": "application/json"}


def install() -> None:
    """Serve the requests of all REST APIs."""
    v1._handle_execute_in_scope = execute


async def execute(  # noqa: PLR0917 - MiniStack's own signature
    api_id: str,
    stage_name: str,
    method: str,
    path: str,
    headers: Any,
    body: bytes,
    query: Any,
    account: str,
    region: str,
) -> Response:
    """Serve one request to a stage of an API."""
    api, stage = v1._rest_apis.get(api_id), v1._stages_v1.get(api_id, {}).get(stage_name)
    if not api:
        return 404, dict(_JSON), b'{"message":"Not Found"}'
    if not stage:
        return forbidden()
    exchange = Exchange(account, region, api, stage, method, path, headers or {}, query or {}, body or b"")
    began = time.perf_counter()
    try:
        answer = await _answer(exchange)
    except Exception:  # MiniStack would return its message to the caller
        LOGGER.exception("API %s, %s %s failed", api_id, method, path)
        answer = v1._gw_error("DEFAULT_5XX", "Internal server error")
    if isinstance(answer, v1._GatewayError):
        answer = gateway_responses.answer(answer, exchange)
    _record(exchange, answer, time.perf_counter() - began)
    named = {"x-amzn-requestid": exchange.context["requestId"], "x-amz-apigw-id": exchange.context["extendedRequestId"]}
    return answer.status, {**answer.headers, **named}, answer.body


def _record(exchange: Exchange, answer: Answer, seconds: float) -> None:
    """Count a request and write its access log line."""
    context = exchange.context
    integration: float | None = context.pop("integrationSeconds", None)
    if integration is not None:
        context["integrationLatency"] = round(integration * 1000)
        context["integration"] = {"latency": context["integrationLatency"], "status": context["integrationStatus"]}
    context |= {
        "status": answer.status, "responseLength": len(answer.body), "responseLatency": round(seconds * 1000),
    }  # fmt: skip
    request_telemetry.count_request(exchange, answer.status, seconds, integration)
    request_telemetry.log_request(exchange)


async def _answer(exchange: Exchange) -> Any:
    """Return a response, or MiniStack's description of a gateway error."""
    if not _route(exchange):  # claim: gateway-knows-no-404
        return v1._gw_error("MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")
    if firewall.blocks(exchange):
        return v1._gw_error("WAF_FILTERED", "Forbidden")
    error = await request_checks.refusal(exchange)
    return error if error is not None else await _integrated(exchange)


def _route(exchange: Exchange) -> bool:
    found = deployments.route(deployments.served_id(exchange.api["id"], exchange.stage), exchange.method, exchange.path)
    if found is None:
        return False
    exchange.resource, exchange.served, exchange.path_parameters = found
    exchange.context |= {"resourcePath": exchange.resource["path"], "resourceId": exchange.resource["id"]}
    return True


async def _integrated(exchange: Exchange) -> Any:
    began = time.perf_counter()
    try:
        return await _by_kind(exchange)
    except UnsupportedMediaTypeError:
        return v1._gw_error("UNSUPPORTED_MEDIA_TYPE", "Unsupported Media Type")
    except BackendError as error:
        LOGGER.info("API %s, %s %s: %s", exchange.api["id"], exchange.method, exchange.path, error)
        return v1._gw_error("INTEGRATION_FAILURE", "Network error communicating with endpoint")
    except TimeoutError:
        return v1._gw_error("INTEGRATION_TIMEOUT", "Endpoint request timed out")
    except (RoleError, MappingError, TemplateError) as error:  # in AWS only the execution log has the reason
        # claim: gateway-hides-configuration-errors
        LOGGER.warning("API %s, %s %s: %s", exchange.api["id"], exchange.method, exchange.path, error)
        return v1._gw_error("API_CONFIGURATION_ERROR", "Internal server error")
    finally:
        if exchange.integration.get("type") != "MOCK":
            exchange.context["integrationSeconds"] = time.perf_counter() - began


async def _by_kind(exchange: Exchange) -> Any:
    integration, kind = exchange.integration, exchange.integration.get("type", "")
    uri = service_integrations.service_uri(integration.get("uri") or "") if kind == "AWS" else None
    if uri is not None:
        return await service_integrations.serve(exchange, uri)
    if kind == "MOCK":
        return _mock(exchange)
    if kind in {"HTTP", "HTTP_PROXY"}:
        return await http_integrations.serve(exchange)
    if kind in {"AWS", "AWS_PROXY"}:
        return _plain(await _function(exchange, is_proxy=kind == "AWS_PROXY"))
    raise MappingError(f"the method has no integration that the embedded cloud supports, got type {kind!r}")


async def _function(exchange: Exchange, *, is_proxy: bool) -> Any:
    """Pass functions and queues to MiniStack."""
    spec = v1._parse_service_integration_uri(exchange.integration.get("uri", ""))
    is_queue = not is_proxy and spec is not None and spec[1] == "sqs"
    if not is_proxy:
        template(exchange)
        # with credentials, the role authorizes the invocation, which is not checked here
    if not is_queue and not exchange.integration.get("credentials"):
        service_integrations.require_function_permission(exchange)
    invoke = v1._invoke_lambda_proxy_v1 if is_proxy else v1._invoke_sqs_v1 if is_queue else v1._invoke_lambda_custom_v1
    is_signed = (exchange.served.get("authorizationType") or "").upper() == "AWS_IAM"
    return await invoke(
        exchange.integration, exchange.api["id"], exchange.stage["stageName"], exchange.stage, exchange.resource, exchange.path,
        exchange.method, exchange.headers, exchange.body, exchange.query, exchange.path_parameters,
        owner_account_id=exchange.account, owner_region=exchange.region,
        binary_media_types=exchange.api.get("binaryMediaTypes") or [],
        authorizer_context=exchange.context["authorizer"] or None,
        caller_identity=v1._iam_caller_identity(exchange.headers, exchange.query) if is_signed else None,
    )  # fmt: skip


def _plain(response: Any) -> Any:
    return response if isinstance(response, v1._GatewayError) else Answer(*response)


def _mock(exchange: Exchange) -> Answer:
    """Respond without a service; the request template determines the status."""
    # claim: gateway-mocks-are-mapped
    text = template(exchange)
    override = mapping_templates.overrides()
    rendered = (
        "" if text is None else mapping_templates.render(text, exchange, exchange.body, {"requestOverride": override})
    )
    try:
        status = int(json.loads(rendered)["statusCode"])
    except (ValueError, KeyError, TypeError) as error:
        raise MappingError(f"the template of a MOCK must give a statusCode, got {rendered!r}") from error
    return integration_mappings.answer(exchange, status, Payload({}, b""))
