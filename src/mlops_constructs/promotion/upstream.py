"""Retraining in another account: alarms of a target request it from its source."""

from collections.abc import Mapping
from typing import NoReturn

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam

from mlops_constructs._validation import ValidationError
from mlops_constructs.promotion.served_models import ServedModels


class Upstream:
    """The remote retraining of a model whose releases are taken, for ``DriftAlarms(retraining=)``.

    An alarm that the newest report of the monitor confirms sends a request to the source, which forwards it to its pipelines or to
    its own source. Cooldown, budget, pause and freeze are those of the pipeline that trains.

    Args:
        served: Sender of requests to the source.
        group_name: Name of the package group.
    """

    def __init__(self, served: ServedModels, group_name: str) -> None:
        self._served, self._group_name = served, group_name

    @property
    def pipeline_name(self) -> str:
        """Name of the package group, as the names of the source's pipelines are unknown."""
        return self._group_name

    @property
    def endpoint_name(self) -> str:
        """Name of this stack's endpoint, whose monitor reports confirm alarms.

        Raises:
            ValidationError: If the stack does not yet define an endpoint of the registry.
        """
        if self._served.endpoint is None:
            self._refuse(f"no endpoint of this stack serves {self._group_name!r} yet; define it before its alarms")
        return self._served.endpoint

    def add_alarms(self, alarms: Mapping[str, cloudwatch.IAlarm]) -> events.Rule:
        """Add alarms that request a retraining from the source.

        Args:
            alarms: Alarms by a name for error messages.
        """
        return self._served.ask(alarms)

    def grant_request(self, grantee: iam.IGrantable) -> iam.Grant:
        """Fail, as people request retrainings in the account that trains.

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
