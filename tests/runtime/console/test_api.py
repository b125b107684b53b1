"""Every request gets a response, and a rejection has the fix."""

from collections.abc import Callable
from typing import Any

from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest

Ask = Callable[..., tuple[int, dict[str, Any]]]


def test_me_says_who_acts_and_what_is_allowed(ask: Ask) -> None:
    """The clock is the embedded cloud's."""
    status, found = ask("GET", "/me")

    assert (status, found["person"]) == (200, "root")
    assert {"me", "listUnits", "readUnit", "readEndpoint"} <= set(found["operations"])
    assert found["clock_scale"] > 0


def test_the_same_is_not_sent_twice(api: ConsoleApi, unit: DeployedUnit) -> None:
    """By its ETag, of which the time is no part."""
    path = f"/api/v1/units/{unit.name}"
    first = api.answer(HttpRequest(method="GET", path=path))

    again = api.answer(HttpRequest(method="GET", path=path, headers={"if-none-match": first.headers["ETag"]}))
    unit.serve(2)
    changed = api.answer(HttpRequest(method="GET", path=path, headers={"if-none-match": first.headers["ETag"]}))

    assert (first.status, again.status, again.body, changed.status) == (200, 304, b"", 200)


def test_an_unknown_address_and_method_are_refused(ask: Ask) -> None:
    """As problems."""
    status, found = ask("GET", "/nothing")
    method, other = ask("QUERY", "/units")

    assert (status, found["type"]) == (404, "urn:mlops:problem:not-found")
    assert (method, other["detail"]) == (405, "this path allows GET")
