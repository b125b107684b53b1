"""People signed in by Cognito act in their roles, each in their own sessions."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.cloud_connection import CloudConnection
from mlops_runtime.console.hosted import HostedConsole
from mlops_runtime.console.route import Role

NOW = 1_900_000_000
Asks = Callable[..., tuple[int, dict[str, Any]]]
PAUSE = {"reason": "a feed is late", "expect": {"sequence": 0}}


def event(
    method: str, path: str, body: object = None, *, claims: dict[str, str], headers: dict[str, list[str]]
) -> dict[str, Any]:
    """Return what a REST API's proxy integration hands over; see AWS's example.

    See: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    where, _, query = path.partition("?")
    pairs = [part.split("=") for part in query.split("&") if part]
    return {
        "resource": "/api/{proxy+}",
        "path": f"/api/v1{where}",
        "httpMethod": method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": dict(pairs) or None,
        "multiValueQueryStringParameters": {name: [value] for name, value in pairs} or None,
        "requestContext": {"authorizer": {"claims": claims}, "requestTimeEpoch": NOW * 1000},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


@pytest.fixture
def hosted(connection: CloudConnection, roles: dict[Role, str]) -> HostedConsole:
    """The API for people; its own keys are root's."""
    return HostedConsole(roles=roles, connection=connection)


@pytest.fixture
def asks(hosted: HostedConsole) -> Asks:
    """Ask as a person: ``asks("ann", "on-call", "GET", "/me")``."""

    def requested(
        who: str, groups: str, method: str, path: str, body: object = None, *, age: int = 0, **headers: Any
    ) -> tuple[int, dict[str, Any]]:
        claims = {"token_use": "access", "username": who, "cognito:groups": groups, "auth_time": str(NOW - age)}
        given = {"Content-Type": ["application/json"]} if body is not None else {}
        given |= {n.replace("_", "-"): v if isinstance(v, list) else [v] for n, v in headers.items()}
        found = hosted.answer(event(method, path, body, claims=claims, headers=given))
        return found["statusCode"], json.loads(found["body"] or "{}")

    return requested


def test_a_person_acts_by_name_in_the_roles_of_their_groups(asks: Asks, roles: dict[Role, str]) -> None:
    """Reads are done in the reader's role."""
    status, me = asks("ann@example.com", "on-call", "GET", "/me")

    assert (status, me["person"], me["roles"]) == (200, "ann@example.com", ["reader", "on-call"])
    assert me["caller"].endswith(f":assumed-role/{roles[Role.READER].rpartition('/')[2]}/ann@example.com")
    assert ("rollBack" in me["operations"], "approve" in me["operations"]) == (True, False)


def test_what_a_group_may_not_is_refused_before_anything_is_done(asks: Asks, unit: DeployedUnit) -> None:
    """Though a page could ask for it."""
    status, problem = asks("ben", "reader", "POST", f"/units/{unit.name}/pause", PAUSE, Idempotency_Key="k" * 8)

    assert (status, problem["detail"]) == (403, "pauseUnit requires the role on-call; this console has reader")


def test_iam_decides_on_each_unit(asks: Asks, unit: DeployedUnit) -> None:
    """One that the role may not read is refused by its own, with the reason, beside the list."""
    listed, units = asks("ben", "reader", "GET", "/units")
    status, problem = asks("ben", "reader", "GET", f"/units/{unit.name}")

    assert (listed, unit.name in [each["unit"] for each in units["units"]]) == (200, True)
    assert (status, problem["title"]) == (403, "not allowed")


@pytest.mark.parametrize("age", [15 * 60, 15 * 60 + 1])
def test_what_is_grave_asks_for_a_recent_sign_in(asks: Asks, unit: DeployedUnit, age: int) -> None:
    """Of the last 15 minutes; a pause does not."""
    where = f"/units/{unit.name}/endpoints/{unit.endpoint}/rollbacks"
    body = {"reason": "wrong prices", "expect": {"live": None}}

    status, problem = asks("ann", "on-call", "POST", where, body, age=age, Idempotency_Key="r" * 8)
    paused, _ = asks("ann", "on-call", "POST", f"/units/{unit.name}/pause", PAUSE, age=age, Idempotency_Key="p" * 8)

    is_old = age > 15 * 60
    assert (status == 401, problem["type"] == "urn:mlops:problem:sign-in-too-old") == (is_old, is_old)
    assert "sign in again and retry" in problem["detail"] or not is_old
    assert paused != 401


def test_a_key_is_of_one_person(asks: Asks, unit: DeployedUnit) -> None:
    """Another with the same key is neither answered with the first one's answer nor refused for it."""
    key = {"Idempotency_Key": "same-key"}
    ann = asks("ann", "on-call", "POST", f"/units/{unit.name}/pause", PAUSE, **key)
    again = asks("ann", "on-call", "POST", f"/units/{unit.name}/pause", PAUSE, **key)
    ben = asks("ben", "on-call", "POST", f"/units/{unit.name}/pause", PAUSE, **key)

    assert (ann[0], again) == (200, ann)
    assert (ben[0], "PAUSED, by ann" in ben[1]["detail"]) == (409, True)


def test_a_session_is_kept_by_person_and_role(asks: Asks, connection: CloudConnection, roles: dict[Role, str]) -> None:
    """With the source identity that records and CloudTrail keep."""
    taken: list[dict[str, str]] = []
    events = connection.client("sts").meta.events
    events.register("provide-client-params.sts.AssumeRole", lambda params, **_: taken.append(params))

    for who in ("ann", "Ben Ek", "ann"):
        asks(who, "reader", "GET", "/me")

    sessions = ["ann", "Ben-Ek=bb33a84581ea1923500766988344c91d"]
    role = roles[Role.READER]
    assert [each["SourceIdentity"] for each in taken] == [each["RoleSessionName"] for each in taken]
    assert [(each["RoleArn"], each["RoleSessionName"]) for each in taken] == [(role, each) for each in sessions]


def test_a_role_that_cannot_be_taken_is_a_problem(connection: CloudConnection, roles: dict[Role, str]) -> None:
    """That says which call AWS refused."""
    hosted = HostedConsole(roles={Role.READER: f"{roles[Role.READER]}-gone"}, connection=connection)
    claims = {"token_use": "access", "username": "ann", "cognito:groups": "reader", "auth_time": "1"}

    found = hosted.answer(event("GET", "/me", claims=claims, headers={}))

    assert found["statusCode"] == 403
    assert "AWS refused AssumeRole" in json.loads(found["body"])["detail"]


def test_a_doubled_header_and_a_large_body_are_refused(asks: Asks) -> None:
    """As by the console on this machine."""
    doubled, reported = asks("ann", "on-call", "POST", "/units/shop/pause", PAUSE, Idempotency_Key=["k" * 8, "l" * 8])
    large, _ = asks("ann", "on-call", "POST", "/units/shop/pause", {"reason": "x" * 70_000}, Idempotency_Key="k" * 8)

    assert (doubled, reported["detail"]) == (400, "these headers were sent more than once: idempotency-key")
    assert large == 413


def test_a_body_in_base64_is_read(hosted: HostedConsole, unit: DeployedUnit) -> None:
    """Which a gateway with binary types sends."""
    claims = {"token_use": "access", "username": "ann", "cognito:groups": "on-call", "auth_time": "1"}
    headers = {"Content-Type": ["application/json"], "Idempotency-Key": ["b" * 8]}
    sent = event("POST", f"/units/{unit.name}/pause", claims=claims, headers=headers)
    sent |= {"body": base64.b64encode(json.dumps(PAUSE).encode()).decode(), "isBase64Encoded": True}

    found = hosted.answer(sent)

    assert found["statusCode"] == 200, found["body"]


def test_answers_carry_the_headers_of_the_console(hosted: HostedConsole) -> None:
    """Refusals too."""
    found = hosted.answer(event("GET", "/me", claims={}, headers={}))

    assert found["statusCode"] == 401
    assert found["headers"]["Content-Type"] == "application/problem+json"
    assert found["headers"]["X-Content-Type-Options"] == "nosniff"
    assert found["headers"]["Cache-Control"] == "no-store"


def test_fails_without_a_role_for_readers(connection: CloudConnection) -> None:
    """As each page reads."""
    with pytest.raises(ValueError, match="must include one for readers, got approver"):
        HostedConsole(roles={Role.APPROVER: "arn:aws:iam::1:role/A"}, connection=connection)
