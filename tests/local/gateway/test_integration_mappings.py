"""Mapping of the caller's request to the integration's, and of its response."""

from typing import Any

import pytest
from tests.local.gateway.test_exchange import made

from mlops_local.gateway.exchange import Exchange
from mlops_local.gateway.integration_mappings import MappingError, UnsupportedMediaTypeError, answer, build
from mlops_local.gateway.parameter_mappings import Payload

JSON = {"application/json": '{"wrapped": $input.body}'}
CSV = Payload({"content-type": "text/csv", "x-version": "12"}, b"1\n")


def exchange_of(body: bytes = b"1", headers: dict[str, str] | None = None, **integration: Any) -> Exchange:
    """Make a request to a method with an integration."""
    exchange = made(body, headers=headers or {})
    exchange.served = {"methodIntegration": integration}
    return exchange


@pytest.mark.parametrize(
    ("behaviour", "templates", "kind", "body"),
    [
        ("WHEN_NO_MATCH", JSON, "text/csv", b"1"),
        ("WHEN_NO_TEMPLATES", {}, "text/csv", b"1"),
        ("WHEN_NO_TEMPLATES", JSON, "text/csv", None),
        ("NEVER", {}, "text/csv", None),
        ("NEVER", JSON, "text/csv", None),
        ("NEVER", JSON, "application/json; charset=utf-8", b'{"wrapped": 1}'),
        ("NEVER", JSON, "", b'{"wrapped": 1}'),
    ],
)
def test_a_type_without_a_template_passes_or_not(
    behaviour: str, templates: dict[str, str], kind: str, body: bytes | None
) -> None:
    """According to the passthrough behavior; a body without a type is JSON."""
    exchange = exchange_of(
        headers={"content-type": kind} if kind else {}, passthroughBehavior=behaviour, requestTemplates=templates
    )
    if body is None:
        with pytest.raises(UnsupportedMediaTypeError):
            build(exchange)
    else:
        assert build(exchange).body == body


def test_headers_pass_by_mapping_alone() -> None:
    """Except Content-Type and Accept; a mapping replaces a header of the same name in any case."""
    headers = {"content-type": "text/csv", "x-amzn-sagemaker-inference-id": "theirs", "authorization": "secret"}
    parameters = {
        "integration.request.header.X-Amzn-SageMaker-Inference-Id": "'ours'",
        "integration.request.header.x-absent": "method.request.header.absent",
        "integration.request.querystring.Version": "stageVariables.colour",
        "integration.request.path.key": "context.stage",
    }
    built = build(exchange_of(headers=headers, requestParameters=parameters))
    assert built.headers == {
        "content-type": "text/csv",
        "accept": "application/json",
        "x-amzn-sagemaker-inference-id": "ours",
    }
    assert (built.query, built.path) == ({"Version": "red"}, {"key": "live"})


def test_a_template_overrides_what_is_mapped() -> None:
    """Headers, path and query."""
    text = (
        '#set($context.requestOverride.header.x-a = "b")#set($context.requestOverride.path.key = "c")'
        '#set($context.requestOverride.querystring.q = "d")body'
    )
    parameters = {"integration.request.header.x-a": "'a'"}
    built = build(exchange_of(requestTemplates={"application/json": text}, requestParameters=parameters))
    assert (built.headers["x-a"], built.path, built.query, built.body) == ("b", {"key": "c"}, {"q": "d"}, b"body")


def answered(
    responses: dict[str, dict[str, Any]], accept: str = "", declared: tuple[str, ...] | None = None
) -> Exchange:
    """Make a request whose method has integration responses."""
    exchange = made(headers={"accept": accept} if accept else {})
    exchange.served = {
        "methodResponses": {code: {} for code in (responses if declared is None else declared)},
        "methodIntegration": {
            "integrationResponses": {code: {"statusCode": code, **r} for code, r in responses.items()}
        },
    }
    return exchange


@pytest.mark.parametrize(("status", "code"), [(200, 200), (424, 502), (500, 502), (400, 200), (4240, 200)])
def test_a_pattern_fits_the_whole_status(status: int, code: int) -> None:
    """A status without a match uses the response without a pattern."""
    exchange = answered({"200": {}, "502": {"selectionPattern": "424|5\\d\\d"}})
    assert answer(exchange, status, CSV).status == code


def test_headers_are_mapped_and_the_type_is_json_otherwise() -> None:
    """A mapped type replaces JSON; headers without a value or with a line break are left out."""
    mapped = {
        "method.response.header.X-Model-Version": "integration.response.header.X-Version",
        "method.response.header.content-type": "integration.response.header.Content-Type",
        "method.response.header.X-Absent": "integration.response.header.Absent",
        "method.response.header.X-Split": "'a\r\nb'",
    }
    found = answer(answered({"200": {"responseParameters": mapped}}), 200, CSV)
    assert found.headers == {"content-type": "text/csv", "X-Model-Version": "12", "X-Split": "ab"}
    assert answer(answered({"200": {}}), 200, CSV).headers == {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("accept", "body"),
    [("text/csv", b"csv"), ("text/html, application/json;q=0.9", b"json"), ("text/html", b"csv"), ("", b"csv")],
)
def test_a_template_is_picked_by_accept(accept: str, body: bytes) -> None:
    """Otherwise by the type of the integration's response."""
    templates = {"application/json": "json", "text/csv": "csv"}
    assert answer(answered({"200": {"responseTemplates": templates}}, accept), 200, CSV).body == body


def test_a_template_sets_the_status() -> None:
    """From the integration's response."""
    text = "#if($input.body.contains('1'))#set($context.responseOverride.status = 409)#end{}"
    found = answer(answered({"200": {"responseTemplates": {"application/json": text}}}), 200, CSV)
    assert (found.status, found.body) == (409, b"{}")


@pytest.mark.parametrize(
    ("responses", "declared"),
    [
        ({}, None),
        ({"502": {"selectionPattern": "5.."}}, None),
        ({"200": {}}, ()),
        ({"200": {"selectionPattern": "["}}, None),
    ],
)
def test_what_cannot_be_mapped_is_an_error(responses: dict[str, Any], declared: tuple[str, ...] | None) -> None:
    """No response for the status, none declared by the method, a pattern with invalid syntax."""
    with pytest.raises(MappingError):
        answer(answered(responses, declared=declared), 200, CSV)
