"""A pipeline as alarms see it."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs import DriftAlarms, ValidationError


class Foreign:
    """Whatever trains a model again, by the members of the interface alone."""

    pipeline_name = "demand-forecast"

    def __init__(self, endpoint_name: str) -> None:
        self.endpoint_name = endpoint_name
        self.alarms: tuple[str, ...] = ()

    def add_alarms(self, alarms: Mapping[str, cloudwatch.IAlarm]) -> Any:
        """Note the alarms."""
        self.alarms = tuple(alarms)

    def grant_request(self, grantee: Any) -> Any:
        """Grant nothing."""


def test_alarms_ask_any_pipeline_of_their_endpoint(define: Callable[..., Any]) -> None:
    """By its interface: no class of ours is asked for, and another endpoint's is refused."""
    made, ours, other = define(), Foreign("demand-forecast"), Foreign("demand-returns")
    DriftAlarms(made.stack, "Others", monitor=made.monitor, retraining=ours)
    assert ours.alarms == ("features", "quality")
    with pytest.raises(ValidationError, match="retraining must be of the monitor's endpoint, 'demand-forecast'"):
        DriftAlarms(made.stack, "Wrong", monitor=made.monitor, retraining=other)
