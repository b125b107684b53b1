"""Mapping of the caller's request to the integration's."""

from typing import Any

import pytest
from tests.local.gateway.test_exchange import made

from mlops_local.gateway.exchange import Exchange
from mlops_local.gateway.integration_requests import UnsupportedMediaTypeError, build

JSON = {"application/json": '{"wrapped": $input.body}'}


def asked(body: bytes = b"1", headers: dict[str, str] | None = None, **integration: Any) -> Exchange:
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
    exchange = asked(
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
    built = build(asked(headers=headers, requestParameters=parameters))
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
    built = build(asked(requestTemplates={"application/json": text}, requestParameters=parameters))
    assert (built.headers["x-a"], built.path, built.query, built.body) == ("b", {"key": "c"}, {"q": "d"}, b"body")
