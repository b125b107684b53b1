"""Values of parameter mapping expressions, and JSONPath."""

from typing import Any

import pytest
from tests.local.gateway.test_exchange import made

from mlops_local.gateway.parameter_mappings import PathError, Payload, find, value

DOCUMENT = {"rows": [{"x": 1, "a b": "é"}, {"x": None}], "n": {"m": False}}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("'constant'", "constant"),
        ("context.httpMethod", "POST"),
        ("context.identity.userAgent", "tests"),
        ("context.absent", None),
        ("stageVariables.colour", "red"),
        ("method.request.header.X-One", "1"),
        ("method.request.header.absent", None),
        ("method.request.querystring.q", "b"),
        ("method.request.multivaluequerystring.q", "a,b"),
        ("method.request.path.id", "7"),
        ("method.request.body", '{"a": {"b": [1]}}'),
        ("method.request.body.a.b", "[1]"),
        ("integration.response.header.X-Two", "2"),
        ("integration.response.body.error", "gone"),
        ("integration.response.body.absent", None),
    ],
)
def test_a_parameter_is_what_its_expression_says(source: str, found: str | None) -> None:
    """Missing values are empty."""
    exchange = made(
        b'{"a": {"b": [1]}}',
        headers={"x-one": "1", "user-agent": "tests"},
        query={"q": ["a", "b"]},
        path_parameters={"id": "7"},
    )
    assert value(source, exchange, Payload({"x-two": "2"}, b'{"error": "gone"}')) == found


def test_the_integration_has_not_answered_yet() -> None:
    """Its headers are empty then, and a body that is not JSON has no parts."""
    assert value("integration.response.header.X-Two", made()) is None
    assert value("method.request.body.a", made(b"a,b")) is None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", DOCUMENT), ("$.n.m", False), ("$.rows[0].x", 1), ("$.rows[0]['a b']", "é"), ("$['n'].m", False),
        ("$.rows[*].x", [1, None]), ("$.n.*", [False]), ("$.rows[7]", None), ("$.absent.x", None), ("$.n[0]", None),
    ],
)  # fmt: skip
def test_a_path_leads_to_its_value(path: str, found: Any) -> None:
    """Or to nothing."""
    assert find(DOCUMENT, path) == found


@pytest.mark.parametrize("path", ["rows", "$..x", "$.rows[?(@.x)]", "$.rows[0:1]", "$.n."])
def test_what_is_not_evaluated_is_refused(path: str) -> None:
    """By name, instead of an empty result."""
    with pytest.raises(PathError):
        find(DOCUMENT, path)
