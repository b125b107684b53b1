"""Addresses of our own on the embedded cloud's port."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud


def fetch(cloud: Cloud, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """Return status and answer of an address."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=5)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    answer = json.load(response)
    connection.close()
    return response.status, answer


def test_answers_beside_aws(cloud: Cloud) -> None:
    """The clock needs no signature."""
    status, answer = fetch(cloud, "/_mlops/clock")
    assert (status, set(answer)) == (200, {"now", "epoch", "scale", "waiting"})


def test_fails_for_a_page_in_a_browser(cloud: Cloud) -> None:
    """A page that is open in a browser cannot move the clock."""
    status, answer = fetch(cloud, "/_mlops/clock", Origin="https://example.com")
    assert (status, answer["message"]) == (403, "this address is not for pages in a browser")


def test_fails_on_an_unknown_address(cloud: Cloud) -> None:
    """Names the known ones."""
    status, answer = fetch(cloud, "/_mlops/weather")
    assert status == 404
    assert answer["message"].startswith("unknown address /_mlops/weather, known are ['/_mlops/clock'")
