"""Retraining that another account does: alarms of a target ask its source for it."""

from collections.abc import Mapping
from typing import NoReturn

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam

from mlops_constructs._errors import ValidationError
from mlops_constructs.promotion.served_models import ServedModels


class Upstream:
    """The retraining of a model whose releases are taken, as ``DriftAlarms(retraining=)`` wants it.

    What asks is an alarm that the newest report of the monitor confirms. The request goes to the source, which hands it to its
    pipelines, or on to its own source. Cool-down, budget, pause and freeze are those of the pipeline that trains.

    Args:
        served: Reports to the source.
        group_name: The package group.
    """

    def __init__(self, served: ServedModels, group_name: str) -> None:
        self._served, self._group_name = served, group_name

    @property
    def pipeline_name(self) -> str:
        """Name of the package group: pipelines of the source have names of their own."""
        return self._group_name

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint of this stack, whose monitor's reports confirm alarms.

        Raises:
            ValidationError: If the stack has no endpoint of the registry yet.
        """
        if self._served.endpoint is None:
            self._refuse(f"no endpoint of this stack serves {self._group_name!r} yet; define it before its alarms")
        return self._served.endpoint

    def add_alarms(self, alarms: Mapping[str, cloudwatch.IAlarm]) -> events.Rule:
        """Let alarms ask the source for a retraining.

        Args:
            alarms: The alarms, by a name for errors.
        """
        return self._served.ask(alarms)

    def grant_request(self, grantee: iam.IGrantable) -> iam.Grant:
        """Refuse: people ask in the account that trains.

        Args:
            grantee: Principal to grant access to.

        Raises:
            ValidationError: Always.
        """
        del grantee
        source = self._served.source
        where = "its source" if source is None else f"{source.name} ({source.account} {source.region})"
        self._refuse(
            f"{self._group_name!r} is trained in {where} or before it; grant requests there, with "
            "RetrainingPipeline.grant_request"
        )

    def _refuse(self, problem: str) -> NoReturn:
        raise ValidationError("InvalidUpstream", [problem], self._served)
