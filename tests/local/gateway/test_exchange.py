"""The context of one request."""

import re
from typing import Any

import pytest

from mlops_local.gateway.exchange import Exchange, is_binary, media_type


def made(body: bytes = b"{}", **more: Any) -> Exchange:
    """Make an unrouted request to a stage."""
    given: dict[str, Any] = {"headers": {}, "query": {}, "method": "POST", "path": "/x/y", **more}
    api = {"id": "a1", "binaryMediaTypes": given.pop("binary", [])}
    stage = {"stageName": "live", "variables": {"colour": "red"}}
    return Exchange(account="1", region="us-east-1", api=api, stage=stage, body=body, **given)


def test_the_context_names_the_request() -> None:
    """Its id is new each time; unset values are empty."""
    first, second = made().context, made().context
    assert (first["path"], first["httpMethod"], first["apiId"], first["stage"]) == ("/live/x/y", "POST", "a1", "live")
    assert first["requestId"] != second["requestId"]
    assert first["extendedRequestId"] != second["extendedRequestId"]
    assert first["unheard"] == ""


CHOSEN = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize("given", [CHOSEN, "not-a-uuid", '{"id": 1}', ""])
def test_a_caller_may_choose_the_id_of_a_request_alone(given: str) -> None:
    """A UUID is accepted, another value is replaced; the extended id is the gateway's."""
    context = made(headers={"x-amzn-requestid": given}).context

    replaced = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_REPLACED_INVALID_REQUEST_ID"
    assert context["requestId"] == CHOSEN if given == CHOSEN else re.fullmatch(replaced, context["requestId"])
    assert re.fullmatch(r"[\w-]{15}=", context["extendedRequestId"])


def test_a_body_without_a_type_is_json() -> None:
    """Parameters and case of a content type are ignored."""
    assert made().content_type == "application/json"
    assert made(headers={"content-type": "Text/CSV; header=present"}).content_type == "text/csv"
    assert media_type(" Text/CSV ;x") == "text/csv"


@pytest.mark.parametrize(
    ("kind", "patterns", "is_so"),
    [("image/png", ["image/*"], True), ("application/json", ["*/*"], True), ("image/png", ["image/jpeg"], False)],
)
def test_binary_types_are_patterns(kind: str, patterns: list[str], is_so: bool) -> None:
    """``*/*`` makes JSON binary too."""
    assert is_binary(kind, patterns) is is_so


def test_text_loses_what_is_not_utf_8() -> None:
    """A binary type keeps its bytes."""
    assert made().text(b"\xff", "text/plain") == "\ufffd".encode()
    assert made(binary=["text/plain"]).text(b"\xff", "text/plain") == b"\xff"
