"""What callers get where a model does not answer."""

import json

import aws_cdk as cdk
from aws_cdk import aws_apigateway as gateway
from aws_cdk.assertions import Template

from mlops_constructs.inference_api.error_answers import (
    JSON,
    define_gateway_answers,
    method_answers,
    model_answers,
    problem,
)


def test_a_problem_has_the_id_of_its_request() -> None:
    """By RFC 9457, so that a caller can ask about it."""
    assert json.loads(problem(503, "not_served", "later")) == {
        "type": "about:blank",
        "title": "not_served",
        "status": 503,
        "detail": "later",
        "request_id": "$context.requestId",
    }


def test_only_our_server_is_quoted() -> None:
    """A container of others may write anything into its errors."""
    own, other = (
        next(
            (answer.response_templates or {})[JSON]
            for answer in model_answers(own_server=is_ours)
            if answer.status_code == "502"
        )
        for is_ours in (True, False)
    )

    assert "$input.path('$.OriginalMessage')" in own
    assert "$status == 400 || $status == 413 || $status == 415" in own
    assert "$input" not in other


def test_each_answer_is_declared() -> None:
    """API Gateway drops headers and statuses that a method does not declare."""
    declared = {answer.status_code: answer.response_parameters for answer in method_answers()}

    for answer in model_answers(own_server=True):
        assert set(answer.response_parameters or ()) <= set(declared[answer.status_code] or ())


def test_causes_of_the_gateway_have_right_statuses() -> None:
    """429 says when to come back."""
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
