"""What IAM denies at a REST API, in the API's own words."""

import json
from collections.abc import Callable
from typing import Any

from botocore.credentials import Credentials

ANSWER = {"200": {"responseTemplates": {"application/json": "{}"}}}
MOCK = {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 200}'}}


def _caller(front: Any, *statements: dict[str, Any]) -> Credentials:
    """Take a role of its own."""
    role = front.role(*statements, trust={"Principal": {"AWS": "arn:aws:iam::000000000000:root"}})
    taken = front.cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="caller")["Credentials"]
    return Credentials(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])


def test_a_denial_is_worded_by_the_api(front: Any, make_api: Callable[..., Any]) -> None:
    """With its status, its headers and the request's id; without a response of its own AWS's words stand."""
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
    """And signatures that do not fit keep their own words."""
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
