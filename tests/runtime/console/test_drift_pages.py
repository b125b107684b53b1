"""A monitored window with the monitor's decision, in the command's words."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.cli.deployed_unit import DeployedUnit
from tests.cli.monitored_unit import DAYS, MonitoredUnit

from mlops_local.cloud import Cloud
from mlops_runtime.contracts import to_dict

Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def monitored(cloud: Cloud) -> MonitoredUnit:
    """A unit of this file's own, whose price is a third higher on three of six days."""
    return MonitoredUnit(DeployedUnit(cloud, "consoledrift"))


def test_a_window_is_shown_with_what_to_do(ask: Ask, monitored: MonitoredUnit) -> None:
    """The report whole, states in words, features by evidence."""
    status, found = ask("GET", f"/units/{monitored.unit.name}/endpoints/{monitored.endpoint}/drift")

    assert (status, found["verdict"]) == (200, monitored.reports[-1].verdict)
    assert found["report"] == to_dict(monitored.reports[-1])
    assert (found["features"][0]["name"], found["features"][0]["drifted"]) == ("price", True)
    drift = next(each for each in found["monitors"] if each["monitor"] == "drift")
    assert (drift["state"], drift["tone"], drift["do"] != "") == ("VIOLATION", "bad", True)


def test_a_feature_is_shown_with_distribution_and_history(ask: Ask, monitored: MonitoredUnit) -> None:
    """Shares of baseline and window, every window before."""
    base = f"/units/{monitored.unit.name}/endpoints/{monitored.endpoint}/drift/feature"
    status, found = ask("GET", f"{base}?feature=price")
    other, problem = ask("GET", f"{base}?feature=weight")

    assert status == 200
    assert sum(row["before"] for row in found["distribution"]) == pytest.approx(1)
    assert sum(row["after"] for row in found["distribution"]) == pytest.approx(1)
    assert [each["drifted"] for each in found["history"]] == [False] * 3 + [True] * 3
    assert len(found["history"]) == DAYS
    assert (other, problem["detail"].startswith("feature 'weight' was not tested; tested features: ")) == (404, True)


def test_a_window_that_does_not_exist_is_named(ask: Ask, monitored: MonitoredUnit, unit: DeployedUnit) -> None:
    """With the newest that do; a monitor that never ran says so."""
    status, problem = ask("GET", f"/units/{monitored.unit.name}/endpoints/{monitored.endpoint}/drift?window=2001-01-01")
    wrong, invalid = ask("GET", f"/units/{monitored.unit.name}/endpoints/{monitored.endpoint}/drift?window=tomorrow")
    other, of_unit = ask("GET", f"/units/{unit.name}/endpoints/{monitored.endpoint}/drift")

    assert (status, "the newest ended at" in problem["detail"]) == (404, True)
    assert (wrong, "got 'tomorrow'" in invalid["detail"]) == (422, True)
    assert (other, f"belongs to unit {monitored.unit.name}" in of_unit["detail"]) == (404, True)
