"""Responses to callers when a model fails."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_apigateway as gateway
from aws_cdk.assertions import Template

from mlops_constructs.inference_api.error_answers import (
    JSON,
    define_gateway_answers,
    method_answers,
    model_answers,
    problem,
)
from mlops_local.gateway.exchange import Exchange
from mlops_local.gateway.mapping_templates import Overrides, overrides, render


def test_a_problem_has_the_id_of_its_request() -> None:
    """Errors follow RFC 9457 and contain the request id."""
    assert json.loads(problem(503, "not_served", "later")) == {
        "type": "about:blank",
        "title": "not_served",
        "status": 503,
        "detail": "later",
        "request_id": "$context.requestId",
    }


def test_only_our_server_is_quoted() -> None:
    """Third-party containers may write anything into their errors."""
    own, other = (
        next(
            (answer.response_templates or {})[JSON]
            for answer in model_answers(own_server=is_ours)
            if answer.status_code == "502"
        )
        for is_ours in (True, False)
    )

    assert "$input.path('$.OriginalMessage')" in own
    assert "$input" not in other


@pytest.mark.parametrize(("status", "title"), [(400, "invalid_request"), (413, "too_large"), (415, "wrong_type")])
def test_a_refusal_of_our_server_is_a_problem(status: int, title: str) -> None:
    """Keeps the server's message, as the gateway evaluates the template."""
    reported = {"error": "it's wrong", "problems": ['"y" of row 1 is not finite']}

    answer, override = _evaluated(status, reported)

    assert override["status"] == status
    assert answer == {
        **reported,
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": answer["detail"],
        "request_id": "r-1",
    }


def test_another_failure_of_our_server_is_not_quoted() -> None:
    """Keeps the status of the integration's response."""
    answer, override = _evaluated(500, {"error": "secret"})

    assert (answer["status"], "status" in override) == (502, False)
    assert "secret" not in json.dumps(answer)


def _evaluated(status: int, content: dict[str, Any]) -> tuple[dict[str, Any], Overrides]:
    template = next(
        (answer.response_templates or {})[JSON]
        for answer in model_answers(own_server=True)
        if answer.status_code == "502"
    )
    requested = Exchange("000000000000", "us-east-1", {"id": "a"}, {"stageName": "live"}, "POST", "/", {}, {}, b"")
    requested.context["requestId"] = "r-1"
    body = json.dumps({"OriginalStatusCode": status, "OriginalMessage": json.dumps(content)}).encode()
    override = overrides()
    return json.loads(render(template, requested, body, {"responseOverride": override})), override


def test_each_answer_is_declared() -> None:
    """API Gateway drops headers and statuses that a method does not declare."""
    declared = {answer.status_code: answer.response_parameters for answer in method_answers()}

    for answer in model_answers(own_server=True):
        assert set(answer.response_parameters or ()) <= set(declared[answer.status_code] or ())


def test_causes_of_the_gateway_have_right_statuses() -> None:
    """Status 429 has a Retry-After header."""
    stack = cdk.Stack()
    api = gateway.RestApi(stack, "Api", cloud_watch_role=False)
    api.root.add_method("GET")
    define_gateway_answers(api)

    found = Template.from_stack(stack).find_resources("AWS::ApiGateway::GatewayResponse").values()
    answers = {each["Properties"]["ResponseType"]: each["Properties"] for each in found}
    assert answers["THROTTLED"]["ResponseParameters"]["gatewayresponse.header.Retry-After"] == "'1'"
    statuses = {
        kind: answers[kind].get("StatusCode") for kind in ("WAF_FILTERED", "INTEGRATION_TIMEOUT", "DEFAULT_5XX")
    }
    assert statuses == {"WAF_FILTERED": "403", "INTEGRATION_TIMEOUT": "504", "DEFAULT_5XX": None}
