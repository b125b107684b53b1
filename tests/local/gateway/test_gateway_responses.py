"""Customized gateway responses, and denials in their form."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.credentials import Credentials
from tests.local.gateway.conftest import Api, Front
from tests.local.gateway.test_execution import OK

ANSWER = {"200": {"responseTemplates": {"application/json": "{}"}}}
MOCK = {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 200}'}}


@pytest.fixture
def api(front: Front, make_api: Callable[..., Api]) -> Api:
    """An API whose errors are problem documents with an id, and that accepts only objects with rows."""
    made, client = make_api(), front.gateway
    client.create_model(
        restApiId=made.id,
        name="Rows",
        contentType="application/json",
        schema='{"type": "object", "required": ["rows"]}',
    )
    validator = client.create_request_validator(restApiId=made.id, name="body", validateRequestBody=True)["id"]
    made.method(
        "/x", {"200": {}}, method={"requestModels": {"application/json": "Rows"}, "requestValidatorId": validator}, **OK
    )
    template = (
        '{"type": "$context.error.responseType", "detail": "$context.error.validationErrorString", '
        '"id": "$context.requestId", "verb": "$context.httpMethod", "who": "${context.identity.user}"}'
    )
    for kind in ("DEFAULT_4XX", "BAD_REQUEST_BODY"):
        client.put_gateway_response(
            restApiId=made.id,
            responseType=kind,
            responseParameters={"gatewayresponse.header.Content-Type": "'application/problem+json'"},
            responseTemplates={"application/json": template},
        )
    return made.deploy()


def test_a_template_sees_the_context(api: Api) -> None:
    """With the schema's reason, as JSON; unknown values are empty."""
    found = api.call("/x", b'{"row": 1}')
    assert (found.status, found.headers["content-type"]) == (400, "application/problem+json")
    assert found.json == {
        "type": "BAD_REQUEST_BODY",
        "detail": '[object has missing required properties (["rows"])]',
        "id": found.headers["x-amzn-requestid"],
        "verb": "POST",
        "who": "",
    }


def test_a_kind_without_its_own_response_takes_the_default(api: Api) -> None:
    """An unknown path returns 403 in the same format."""
    found = api.call("/y")
    assert (found.status, found.json["type"], found.json["detail"]) == (403, "MISSING_AUTHENTICATION_TOKEN", "")


def test_a_body_cannot_write_into_the_answer(api: Api) -> None:
    """Variables in a body are plain text."""
    found = api.call("/x", b'["$context.accountId"]')
    assert (found.status, "000000000000" in found.body.decode()) == (400, False)


def _caller(front: Any, *statements: dict[str, Any]) -> Credentials:
    """Assume a new role."""
    role = front.role(*statements, trust={"Principal": {"AWS": "arn:aws:iam::000000000000:root"}})
    taken = front.cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="caller")["Credentials"]
    return Credentials(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])


def test_a_denial_is_worded_by_the_api(front: Any, make_api: Callable[..., Any]) -> None:
    """With its status, headers and request id; without a gateway response AWS's message is returned."""
    stranger = _caller(front)
    api = make_api()
    api.method("/rows", ANSWER, method={"authorizationType": "AWS_IAM"}, **MOCK)
    api.deploy()
    plain = api.call("/rows", sign="execute-api", credentials=stranger)
    front.gateway.put_gateway_response(
        restApiId=api.id,
        responseType="ACCESS_DENIED",
        statusCode="404",
        responseParameters={"gatewayresponse.header.Content-Type": "'application/problem+json'"},
        responseTemplates={"application/json": '{"id": "$context.requestId"}'},
    )
    worded = api.deploy().call("/rows", sign="execute-api", credentials=stranger)

    assert plain.status == 403
    assert "is not authorized to perform: execute-api:Invoke" in plain.json["Message"]
    assert (worded.status, worded.headers["content-type"]) == (404, "application/problem+json")
    assert worded.json == {"id": worded.headers["x-amzn-requestid"]}
    assert "arn:" not in json.dumps(worded.headers)


def test_a_granted_caller_is_answered(front: Any, make_api: Callable[..., Any]) -> None:
    """Invalid signatures have their own message."""
    api = make_api()
    api.method("/rows", ANSWER, method={"authorizationType": "AWS_IAM"}, **MOCK)
    api.deploy()
    allowed = {
        "Effect": "Allow",
        "Action": "execute-api:Invoke",
        "Resource": f"arn:aws:execute-api:*:*:{api.id}/live/*",
    }

    assert api.call("/rows", sign="execute-api", credentials=_caller(front, allowed)).status == 200
    assert api.call("/rows").status == 403


def test_a_failed_signature_is_worded_by_the_api(front: Any, make_api: Callable[..., Any]) -> None:
    """A wrong secret and an unknown key; without gateway responses API Gateway's message is returned."""
    root = front.cloud.root_keys()["aws_access_key_id"]
    callers = Credentials(root, "guessed"), Credentials("AKIAUNKNOWNUNKNOWN00", "x")
    api = make_api()
    api.method("/rows", ANSWER, method={"authorizationType": "AWS_IAM"}, **MOCK)
    api.deploy()
    plain = [api.call("/rows", sign="execute-api", credentials=each) for each in callers]
    for kind, status in (("INVALID_SIGNATURE", "404"), ("DEFAULT_4XX", "410")):
        front.gateway.put_gateway_response(
            restApiId=api.id,
            responseType=kind,
            statusCode=status,
            responseTemplates={"application/json": '{"id": "$context.requestId"}'},
        )
    api.deploy()
    worded = [api.call("/rows", sign="execute-api", credentials=each) for each in callers]

    assert [(seen.status, seen.headers["x-amzn-errortype"]) for seen in plain] == [
        (403, "InvalidSignatureException"),
        (403, "UnrecognizedClientException"),
    ]
    assert all(set(seen.json) == {"message"} for seen in plain)
    assert [seen.status for seen in worded] == [404, 410]
    assert all(seen.json == {"id": seen.headers["x-amzn-requestid"]} for seen in worded)


@pytest.mark.parametrize("is_api_there", [True, False])
@pytest.mark.parametrize("keys", ["granted", "not granted", "wrong"])
def test_what_is_not_there_is_forbidden(
    front: Any, make_api: Callable[..., Any], keys: str, *, is_api_there: bool
) -> None:
    """No message names the account or the API."""
    requested = make_api() if is_api_there else replace(make_api(), id="nosuchapi1")
    strange = Credentials("AKIAUNKNOWNUNKNOWN00", "x") if keys == "wrong" else None
    credentials = _caller(front) if keys == "not granted" else strange

    # nothing is deployed, so there is no stage
    seen = requested.call("/rows", sign="execute-api", credentials=credentials)

    assert (seen.status, seen.json) == (403, {"message": "Forbidden"})
    assert seen.headers["x-amzn-errortype"] == "ForbiddenException"
