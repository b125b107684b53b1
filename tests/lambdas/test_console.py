"""The function behind the console's API."""

import json
from collections.abc import Callable
from typing import Any

import pytest

ARN = "arn:aws:iam::123456789012:role/{}"
CLAIMS = {"token_use": "access", "username": "ann", "cognito:groups": "reader", "auth_time": "1500"}
Load = Callable[[str], Any]


def event(claims: dict[str, str]) -> dict[str, Any]:
    """Return an event of a REST API's proxy integration."""
    return {
        "path": "/api/v1/openapi.json",
        "httpMethod": "GET",
        "multiValueHeaders": {},
        "requestContext": {"authorizer": {"claims": claims}, "requestTimeEpoch": 1_560_000},
        "body": None,
        "isBase64Encoded": False,
    }


@pytest.fixture
def handler(load: Load, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load `lambdas/console` with roles in its environment."""
    for name in ("READER", "ON_CALL", "APPROVER"):
        monkeypatch.setenv(f"{name}_ROLE", ARN.format(name))
    return load("console").handler


def test_a_person_is_answered(handler: Any) -> None:
    """Uses the claims that the authorizer has verified."""
    found = handler(event(CLAIMS), None)

    assert found["statusCode"] == 200
    assert json.loads(found["body"])["openapi"] == "3.1.0"


def test_nobody_is_refused(handler: Any) -> None:
    """Protects against a missing authorizer."""
    found = handler(event({}), None)

    assert (found["statusCode"], json.loads(found["body"])["title"]) == (401, "not signed in")
