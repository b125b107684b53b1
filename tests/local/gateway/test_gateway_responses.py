"""Customized gateway responses."""

from collections.abc import Callable

import pytest
from tests.local.gateway.conftest import Api, Front
from tests.local.gateway.test_execution import OK


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
