"""A unit's dashboard in a template."""

from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs import BusinessUnit, UnitDashboard, ValidationError


def test_fails_on_alarms_of_another_unit(demand: Any):
    """Endpoints of another unit belong on its dashboard; all problems are reported together."""
    stack = cdk.Stack(cdk.App(), "Other")
    other = BusinessUnit(stack, "Unit", name="returns")
    with pytest.raises(
        ValidationError,
        match="alarms must be of one endpoint each, got demand-forecast, demand-forecast; alarms must be of unit 'returns', got "
        "'demand-forecast' of unit 'demand'; remove it",
    ):
        UnitDashboard(stack, "Board", business_unit=other, drift_alarms=[demand.alarms, demand.alarms])


def test_fails_without_alarms(demand: Any):
    """Rejects an empty dashboard."""
    with pytest.raises(ValidationError, match="alarms must not be empty; pass the DriftAlarms of each endpoint"):
        UnitDashboard(cdk.Stack(cdk.App(), "Other"), "Board", business_unit=demand.unit, drift_alarms=[])
