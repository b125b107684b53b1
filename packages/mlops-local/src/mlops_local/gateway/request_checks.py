"""The gateway's own checks in AWS's order: size, caller, API key, rates, parameters and body."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ministack.services import apigateway_v1 as v1

from mlops_local.gateway import deployments, schema_problems
from mlops_local.gateway.exchange import Exchange

LIMIT = 10 * 1024 * 1024
_CREDENTIAL = re.compile(r"Credential=([^\s,]*)")


async def refusal(exchange: Exchange) -> Any:
    """Return MiniStack's description of the gateway's error for a request, or ``None``; fill in the caller."""
    if len(exchange.body) > LIMIT:
        # claim: gateway-takes-10-megabytes
        return v1._gw_error("REQUEST_TOO_LARGE", "Request Too Long")
    refused = await _caller(exchange)
    if refused is not None:
        return refused
    api_id, stage_name = exchange.api["id"], exchange.stage["stageName"]
    # claim: gateway-plans-are-of-methods-that-require-keys
    refused, key = v1._check_api_key(exchange.served, api_id, stage_name, exchange.headers)
    if key is not None:
        exchange.context["identity"] |= {"apiKeyId": key["id"]}
    return (
        refused
        or v1._check_throttle(exchange.stage, api_id, stage_name, exchange.resource["path"], exchange.method, key)
        or v1._check_quota(key, api_id, stage_name)
        or _invalid(exchange)
    )


async def _caller(exchange: Exchange) -> Any:
    kind = (exchange.served.get("authorizationType") or "NONE").upper()
    # claim: gateway-callers-sign-for-execute-api
    misplaced = _misplaced(exchange) if kind == "AWS_IAM" else ""
    if misplaced:
        return v1._GatewayError("INVALID_SIGNATURE", misplaced, "InvalidSignatureException")
    refused, authorizer = await v1._authorize_request_v1(
        exchange.api["id"], exchange.stage["stageName"], exchange.served, exchange.method, exchange.path, exchange.resource,
        exchange.headers, exchange.body, exchange.query, exchange.path_parameters, exchange.stage, exchange.account,
        exchange.region,
    )  # fmt: skip
    exchange.context["authorizer"] = authorizer or {}
    if kind == "AWS_IAM" and refused is None:
        known = v1._iam_caller_identity(exchange.headers, exchange.query) or {}
        exchange.context["identity"] |= {name: value for name, value in known.items() if value}
    claims: dict[str, Any] = (authorizer or {}).get("claims") or {}
    if kind == "COGNITO_USER_POOLS":
        claims |= _as_written(claims)
    if (
        kind == "COGNITO_USER_POOLS"
        and claims.get("token_use") == "access"
        and not exchange.served.get("authorizationScopes")
    ):
        # claim: gateway-access-tokens-need-scopes
        return v1._gw_error("UNAUTHORIZED", "Unauthorized")
    return refused


def _as_written(claims: Mapping[str, str]) -> dict[str, str]:
    """Return the claims that REST APIs format differently from HTTP APIs, whose format MiniStack uses."""
    # claim: gateway-writes-claims-as-text
    changed = {name: value[1:-1].replace(" ", ",") for name, value in claims.items() if re.fullmatch(r"\[.*\]", value)}
    for name in ("exp", "iat"):
        if claims.get(name, "").isdecimal():
            changed[name] = f"{datetime.fromtimestamp(int(claims[name]), UTC):%a %b %d %H:%M:%S UTC %Y}"
    return changed


def _misplaced(exchange: Exchange) -> str:
    """Return the problem with the scope of a credential, in a header or presigned URL."""
    header = _CREDENTIAL.search(exchange.headers.get("authorization", ""))
    given = header[1] if header is not None else "".join(exchange.query.get("X-Amz-Credential", [])[:1])
    if not given:
        return ""
    _, _, region, service, end = [*given.split("/"), *[""] * 5][:5]
    return "".join(
        [
            "" if region == exchange.region else f"Credential should be scoped to a valid region, not '{region}'. ",
            "" if service == "execute-api" else "Credential should be scoped to correct service: 'execute-api'. ",
            ""
            if end == "aws4_request"
            else f"Credential should be scoped with a valid terminator: 'aws4_request', not '{end}'. ",
        ]
    )


def _invalid(exchange: Exchange) -> Any:
    """Return the error of the parameters or body; a body whose type has no model is not checked."""
    # claim: gateway-validates-types-with-a-model
    models = exchange.served.get("requestModels") or {}
    name = models.get(exchange.content_type) or models.get("$default")
    served = deployments.served_id(exchange.api["id"], exchange.stage)
    # MiniStack falls back to the model for JSON: pass only the applicable one, under the type that it looks up
    method = {**exchange.served, "requestModels": {exchange.content_type: name} if name else {}}
    headers = {**exchange.headers, "content-type": exchange.content_type}
    # claim: gateway-reads-json-strictly
    body = exchange.text(exchange.body, exchange.content_type)
    checked = body if schema_problems.is_json(body) else b""
    refused = v1._check_request_validation(
        method, served, {"path_params": exchange.path_parameters}, headers, checked, exchange.query
    )
    if refused is not None and refused.response_type == "BAD_REQUEST_BODY":
        exchange.context["error"] = {
            "validationErrorString": schema_problems.text(v1._model_schema(served, name), checked)
        }
    elif refused is not None:
        exchange.context["error"] = {"validationErrorString": refused.message}
    return refused
