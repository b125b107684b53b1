"""What is refused of the feature store; what is found is held against the command in ``tests/cli/test_feature_location.py``."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.cli.deployed_unit import DeployedUnit

Ask = Callable[..., tuple[int, dict[str, Any]]]


def test_a_unit_without_a_store_says_so(ask: Ask, unit: DeployedUnit) -> None:
    """With the units that have one, and a text without a word is refused."""
    status, problem = ask("GET", f"/units/{unit.name}/features?text=units")
    blank, invalid = ask("GET", f"/units/{unit.name}/features?text=%20")

    assert (status, "has not published a feature store" in problem["detail"]) == (404, True)
    assert (blank, "text must be Words" in invalid["detail"]) == (422, True)


def test_a_missing_library_is_named(ask: Ask, unit: DeployedUnit, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what installs it."""
    monkeypatch.setitem(sys.modules, "mlops_runtime.features.deployed_store", None)

    status, problem = ask("GET", f"/units/{unit.name}/features?text=units")

    assert (status, "pip install 'mlops-runtime[features]'" in problem["detail"]) == (503, True)
