"""The pipeline interface that alarms use."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs import DriftAlarms, ValidationError


class Foreign:
    """A custom pipeline with only the interface's members."""

    pipeline_name = "demand-forecast"

    def __init__(self, endpoint_name: str) -> None:
        self.endpoint_name = endpoint_name
        self.alarms: tuple[str, ...] = ()

    def add_alarms(self, alarms: Mapping[str, cloudwatch.IAlarm]) -> Any:
        """Record the alarms."""
        self.alarms = tuple(alarms)

    def grant_request(self, grantee: Any) -> Any:
        """Grant nothing."""


def test_alarms_ask_any_pipeline_of_their_endpoint(define: Callable[..., Any]) -> None:
    """Alarms accept any implementation, and reject one of another endpoint."""
    made, ours, other = define(), Foreign("demand-forecast"), Foreign("demand-returns")
    DriftAlarms(made.stack, "Others", monitor=made.monitor, retraining=ours)
    assert ours.alarms == ("features", "quality")
    with pytest.raises(ValidationError, match="retraining must be of the monitor's endpoint, 'demand-forecast'"):
        DriftAlarms(made.stack, "Wrong", monitor=made.monitor, retraining=other)
