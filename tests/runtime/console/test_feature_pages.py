"""Rejected requests for the feature store; results are compared with the command in ``tests/cli/test_feature_location.py``."""

from collections.abc import Callable
from typing import Any

from tests.cli.deployed_unit import DeployedUnit

Ask = Callable[..., tuple[int, dict[str, Any]]]


def test_a_unit_without_a_store_says_so(ask: Ask, unit: DeployedUnit) -> None:
    """With the units that have one, and a text without a word is refused."""
    status, problem = ask("GET", f"/units/{unit.name}/features?text=units")
    blank, invalid = ask("GET", f"/units/{unit.name}/features?text=%20")

    assert (status, "has not published a feature store" in problem["detail"]) == (404, True)
    assert (blank, "text must be Words" in invalid["detail"]) == (422, True)
