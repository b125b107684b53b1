"""What alarms and people need of a retraining pipeline."""

from collections.abc import Mapping
from typing import Protocol

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam


class IRetrainingPipeline(Protocol):
    """A pipeline that trains one model again."""

    @property
    def pipeline_name(self) -> str:
        """Name of the pipeline, ``<unit>-<name>``."""
        ...

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint whose champion a candidate is measured against, and whose reports confirm alarms."""
        ...

    def add_alarms(self, alarms: Mapping[str, cloudwatch.IAlarm]) -> events.Rule:
        """Let alarms ask for a retraining; the guard reads each again before it starts anything."""
        ...

    def grant_request(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a role or user ask for a retraining with ``mlops train``, in its own name alone."""
        ...
