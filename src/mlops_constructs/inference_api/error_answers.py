"""Error responses of the API: ``application/problem+json`` (RFC 9457), without details of AWS.

SageMaker's own errors contain account, Region and log group, and an integration with only a default response would return them with
status 200. So every status is mapped here, and unknown ones are 502.
"""

import json
from collections.abc import Mapping

from aws_cdk import aws_apigateway as gateway

PROBLEM = "application/problem+json"
JSON = "application/json"
# headers of every response, against content sniffing and caching of predictions
# https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
SAFE: Mapping[str, str] = {"X-Content-Type-Options": "'nosniff'", "Cache-Control": "'no-store'"}
INFERENCE_ID, MODEL_VERSION, RETRY_AFTER = "X-Inference-Id", "X-Model-Version", "Retry-After"
# not requestId, which callers may choose and so collide with others' ids
# claim: callers-may-choose-request-ids
INFERENCE_ID_SOURCE = "context.extendedRequestId"
# statuses of the platform's server for invalid requests
REFUSALS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request", "the model rejected the request; see `problems`"),
    413: ("too_large", "the body is larger than the model accepts"),
    415: ("wrong_type", "the model does not accept bodies of this type"),
}
STATUSES = ("200", *map(str, REFUSALS), "429", "502", "503")

# status, code and sentence by API Gateway's response type; without AWS's own messages, which contain ARNs
# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
_REFUSED: Mapping[str, tuple[int, str, str]] = {
    "BadRequestParameters": (400, "invalid_request", "a header or parameter is missing"),
    "MissingAuthenticationToken": (403, "not_allowed", "there is no such path, or the request is not signed"),
    "AccessDenied": (403, "not_allowed", "the caller is not authorized to call this model"),
    "ExpiredToken": (403, "not_allowed", "the credentials have expired"),
    "InvalidSignature": (403, "not_allowed", "the signature does not match the request"),
    "InvalidApiKey": (403, "not_allowed", "the API key is missing, or belongs to no plan of this API"),
    "WafFiltered": (403, "not_allowed", "the request is too large, or was blocked by the web firewall"),
    "Unauthorized": (401, "not_known", "the token is missing, has expired, or lacks the scope"),
    "AuthorizerFailure": (500, "failed", "the token could not be checked"),
    "AuthorizerConfigurationError": (500, "failed", "the token could not be checked"),
    "ResourceNotFound": (404, "not_found", "there is no such path"),
    "RequestTooLarge": (413, "too_large", "the body is larger than the API's maximum of 10 MB"),
    "UnsupportedMediaType": (415, "wrong_type", "the body must be application/json"),
    "Throttled": (429, "too_many_requests", "the rate limit is exceeded; try again"),
    "QuotaExceeded": (429, "quota_spent", "the quota of the plan is exceeded"),
    "IntegrationTimeout": (504, "too_slow", "the model did not answer in time; it may have counted the call"),
    "IntegrationFailure": (504, "failed", "the model could not be reached"),
    "ApiConfigurationError": (500, "failed", "the call failed"),
}
_TYPES = {
    "BadRequestParameters": gateway.ResponseType.BAD_REQUEST_PARAMETERS,
    "MissingAuthenticationToken": gateway.ResponseType.MISSING_AUTHENTICATION_TOKEN,
    "AccessDenied": gateway.ResponseType.ACCESS_DENIED,
    "ExpiredToken": gateway.ResponseType.EXPIRED_TOKEN,
    "InvalidSignature": gateway.ResponseType.INVALID_SIGNATURE,
    "InvalidApiKey": gateway.ResponseType.INVALID_API_KEY,
    "WafFiltered": gateway.ResponseType.WAF_FILTERED,
    "Unauthorized": gateway.ResponseType.UNAUTHORIZED,
    "AuthorizerFailure": gateway.ResponseType.AUTHORIZER_FAILURE,
    "AuthorizerConfigurationError": gateway.ResponseType.AUTHORIZER_CONFIGURATION_ERROR,
    "ResourceNotFound": gateway.ResponseType.RESOURCE_NOT_FOUND,
    "RequestTooLarge": gateway.ResponseType.REQUEST_TOO_LARGE,
    "UnsupportedMediaType": gateway.ResponseType.UNSUPPORTED_MEDIA_TYPE,
    "Throttled": gateway.ResponseType.THROTTLED,
    "QuotaExceeded": gateway.ResponseType.QUOTA_EXCEEDED,
    "IntegrationTimeout": gateway.ResponseType.INTEGRATION_TIMEOUT,
    "IntegrationFailure": gateway.ResponseType.INTEGRATION_FAILURE,
    "ApiConfigurationError": gateway.ResponseType.API_CONFIGURATION_ERROR,
}


def problem(status: int, code: str, sentence: str) -> str:
    """Return the response template of a problem, with the request id.

    Example:
        >>> json.loads(problem(404, "not_found", "there is no such path"))["title"]
        'not_found'
    """
    return json.dumps(
        {"type": "about:blank", "title": code, "status": status, "detail": sentence, "request_id": "$context.requestId"}
    )


def define_gateway_answers(api: gateway.RestApi) -> None:
    """Define API Gateway's own error responses, and for invalid bodies the schema's validation error."""
    for name, (status, code, sentence) in _REFUSED.items():
        # the construct ids are the response types
        api.add_gateway_response(
            name,
            type=_TYPES[name],
            status_code=str(status),
            templates={JSON: problem(status, code, sentence)},
            response_headers=_headers(is_busy=name == "Throttled"),
        )
    # claim: gateway-escapes-validation-errors
    checked = problem(400, "invalid_request", "the body does not match the schema of the model")
    api.add_gateway_response(
        "BadRequestBody",
        type=gateway.ResponseType.BAD_REQUEST_BODY,
        status_code="400",
        templates={JSON: f'{checked[:-1]}, "problems": ["$context.error.validationErrorString"]}}'},
        response_headers=_headers(),
    )
    for name, kind, sentence in (
        ("Default4xx", gateway.ResponseType.DEFAULT_4_XX, "the request was refused"),
        ("Default5xx", gateway.ResponseType.DEFAULT_5_XX, "the call failed"),
    ):
        body = json.dumps(
            {"type": "about:blank", "title": "failed", "detail": sentence, "request_id": "$context.requestId"}
        )
        api.add_gateway_response(name, type=kind, templates={JSON: body}, response_headers=_headers())


def _headers(*, is_busy: bool = False) -> dict[str, str]:
    return {"Content-Type": f"'{PROBLEM}'", **SAFE, **({RETRY_AFTER: "'1'"} if is_busy else {})}


def model_answers(*, own_server: bool) -> list[gateway.IntegrationResponse]:
    """Return the responses for each status of SageMaker Runtime.

    For a container's own 400, 413 and 415, callers get a problem with its messages if the container is the platform's server,
    whose messages are about the request only. SageMaker itself returns 400 for a missing endpoint.

    Args:
        own_server: Whether the platform's server serves the model.
    """
    failed = problem(502, "model_error", "the model failed on this request")
    return [
        _predictions("X-Amzn-SageMaker-Custom-Attributes"),
        _busy(),
        _not_served(r"400|5\d{2}"),
        _problem("502", _refusals(failed) if own_server else failed),
    ]


def service_answers(*, own_server: bool) -> list[gateway.IntegrationResponse]:
    """Return the responses for each status of a service on EKS or of its load balancer.

    Args:
        own_server: Whether the platform's server serves the model.
    """
    # content other than JSON objects, such as a page of the load balancer, is left out
    template = "#set($said = $input.json('$'))#if($said.indexOf('{') == 0), $said.substring(1)#else}#end"
    refusals = REFUSALS.items() if own_server else ()
    return [
        _predictions("X-Model-Version"),
        *(_problem(str(status), problem(status, *words)[:-1] + template, str(status)) for status, words in refusals),
        _busy(),
        # of the load balancer: missing path, or no healthy pod
        _not_served("404|503"),
        _problem("502", problem(502, "model_error", "the model failed on this request")),
    ]


def _predictions(version: str) -> gateway.IntegrationResponse:
    """Return the response of a prediction, passed through with the model's version from one of its headers."""
    return gateway.IntegrationResponse(
        status_code="200",
        selection_pattern="200",
        response_parameters={
            "method.response.header.Content-Type": "integration.response.header.Content-Type",
            f"method.response.header.{MODEL_VERSION}": f"integration.response.header.{version}",
            **_always(),
        },
    )


def _busy() -> gateway.IntegrationResponse:
    words = problem(429, "too_many_requests", "there are more calls than the model can serve")
    return _problem("429", words, "429", {f"method.response.header.{RETRY_AFTER}": "'1'"})


def _not_served(pattern: str) -> gateway.IntegrationResponse:
    return _problem("503", problem(503, "not_served", "the model is not available now; try again later"), pattern)


def _problem(
    status: str, template: str, pattern: str | None = None, more: Mapping[str, str] | None = None
) -> gateway.IntegrationResponse:
    return gateway.IntegrationResponse(
        status_code=status,
        selection_pattern=pattern,
        response_parameters={"method.response.header.Content-Type": f"'{PROBLEM}'", **_always(), **(more or {})},
        response_templates={JSON: template},
    )


def _always() -> dict[str, str]:
    return {f"method.response.header.{INFERENCE_ID}": INFERENCE_ID_SOURCE, **safe_headers()}


def safe_headers() -> dict[str, str]:
    """Return the headers of every response, as response parameters of an integration.

    Example:
        >>> safe_headers()["method.response.header.Cache-Control"]
        "'no-store'"
    """
    return {f"method.response.header.{name}": value for name, value in SAFE.items()}


def _refusals(failed: str) -> str:
    """Return a template: the platform server's ``error`` and ``problems`` in a problem, ``failed`` for everything else."""
    message = "$input.path('$.OriginalMessage').substring(1)"  # a JSON object, whose strings are already escaped
    branches = (
        f"if($status == {status})#set($context.responseOverride.status = $status){problem(status, *words)[:-1]}, {message}"
        for status, words in REFUSALS.items()
    )
    return f"#set($status = $input.path('$.OriginalStatusCode'))#{'#else'.join(branches)}#else{failed}#end"


def method_answers() -> list[gateway.MethodResponse]:
    """Return the method responses of predictions."""
    named = ("Content-Type", INFERENCE_ID, MODEL_VERSION, RETRY_AFTER, *SAFE)
    headers = {f"method.response.header.{name}": False for name in named}
    return [gateway.MethodResponse(status_code=status, response_parameters=headers) for status in STATUSES]
