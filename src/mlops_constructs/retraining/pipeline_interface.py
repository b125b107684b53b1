"""Interface of a retraining pipeline."""

from collections.abc import Mapping
from typing import Protocol

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam


class IRetrainingPipeline(Protocol):
    """A pipeline that retrains one model."""

    @property
    def pipeline_name(self) -> str:
        """Name of the pipeline, ``<unit>-<name>``."""
        ...

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint whose model is the champion, and whose monitor reports confirm alarms."""
        ...

    def add_alarms(self, alarms: Mapping[str, cloudwatch.IAlarm]) -> events.Rule:
        """Add alarms that request a retraining; the guard checks their state again before it starts one."""
        ...

    def grant_request(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant requesting a retraining with ``mlops train``, under the caller's own identity only."""
        ...
