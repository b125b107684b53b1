"""Processing of a request by an API."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.local.gateway.conftest import Api

OK: dict[str, Any] = {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 200}'}}


def test_a_mock_answers_what_its_templates_say(make_api: Callable[..., Api]) -> None:
    """Status, headers with values of the context, and a body in VTL."""
    api = make_api()
    template = '{"statusCode": #if($input.params("id") == "gone")404#{else}200#end}'
    api.method(
        "/models/{id}",
        {
            "200": {
                "responseParameters": {"method.response.header.X-Id": "context.requestId"},
                "responseTemplates": {"application/json": '{"model": "$input.params("id")", "$schema": "draft#"}'},
            },
            "404": {"selectionPattern": "404"},
        },
        verb="GET",
        type="MOCK",
        requestTemplates={"application/json": template},
    )
    found = api.deploy().call("/models/demand", b"", verb="GET")
    assert (found.status, found.json) == (200, {"model": "demand", "$schema": "draft#"})
    assert found.headers["x-id"] == found.headers["x-amzn-requestid"]
    gone = api.call("/models/gone", b"", verb="GET")
    assert (gone.status, gone.body) == (404, b"")


@pytest.mark.parametrize(
    ("integration", "headers", "status"),
    [
        ({**OK, "passthroughBehavior": "NEVER"}, {"content_type": "text/csv"}, 415),
        ({"type": "MOCK", "requestTemplates": {"application/json": "{}"}}, {}, 500),
        ({"type": "MOCK", "requestTemplates": {"application/json": "#if(1"}}, {}, 500),
        (
            {"type": "HTTP", "uri": "http://127.0.0.1:1", "requestParameters": {"integration.request.body.x": "'1'"}},
            {},
            500,
        ),
    ],
)
def test_what_the_gateway_cannot_send_on_is_its_own_error(
    make_api: Callable[..., Api], integration: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    """Without a reason in the body, only the error type."""
    api = make_api()
    api.method("/x", {"200": {}}, **integration)
    found = api.deploy().call("/x", **headers)
    assert found.status == status
    assert found.json == {"message": "Unsupported Media Type" if status == 415 else "Internal server error"}


def test_a_path_without_a_method_is_forbidden(make_api: Callable[..., Api]) -> None:
    """As is an unsupported verb, and a missing stage."""
    api = make_api()
    api.method("/x", {"200": {}}, **OK)
    api.deploy()
    assert [api.call(path, verb=verb).status for path, verb in (("/y", "POST"), ("/x", "PUT"))] == [403, 403]
    assert api.call("/../other/x").status == 403
