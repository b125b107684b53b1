"""All kinds of endpoint capacity in one stack, as input of the template checkers in addition to the deployed stacks."""

import aws_cdk as cdk

from constructs import Construct
from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EndpointCapacity,
    EndpointVariant,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Ownership,
    Profile,
    Scaling,
    off_hours,
)

_PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/offers-ranking/1"


class Capacities(cdk.Stack):
    """A serverless endpoint, an asynchronous one, two scaled fleets, and one managed by CloudFormation alone."""

    def __init__(self, scope: Construct, id: str, *, image: ModelImage, profile: Profile) -> None:
        super().__init__(scope, id)
        self._unit = BusinessUnit(self, "Unit", name="offers", profile=profile)
        self._image = image
        self._define_serverless()
        self._define_queue()
        self._define_fleets()
        self._define_owned()

    def _define_serverless(self) -> None:
        """For few calls, which tolerate cold starts."""
        ModelEndpoint(
            self,
            "Rarely",
            business_unit=self._unit,
            registry=ModelRegistry(self, "RarelyModels", business_unit=self._unit, name="rarely"),
            name="rarely",
            image=self._image,
            capacity=EndpointCapacity.serverless(memory=cdk.Size.gibibytes(2), max_concurrency=10),
        )

    def _define_queue(self) -> None:
        """For large requests, which are queued."""
        scaling = Scaling(min_capacity=0, max_capacity=4, target_backlog=5)
        capacity = EndpointCapacity.asynchronous(
            "ml.m5.large",
            instance_count=1,
            scaling=scaling,
            success_topic=self._unit.topic,
            error_topic=self._unit.topic,
        )
        ModelEndpoint(
            self,
            "Nightly",
            business_unit=self._unit,
            registry=ModelRegistry(self, "NightlyModels", business_unit=self._unit, name="nightly"),
            name="nightly",
            image=self._image,
            capacity=capacity,
        )

    def _define_fleets(self) -> None:
        """Two fleets that scale with their calls by day and are small by night."""
        hours = off_hours(
            min_capacity=2, max_capacity=8, off_min_capacity=2, off_max_capacity=2, time_zone="Europe/Berlin"
        )
        capacity = EndpointCapacity.instances(
            "ml.m5.large",
            instance_count=2,
            scaling=Scaling(min_capacity=2, max_capacity=8, target_invocations=600, schedules=hours),
            variants=[EndpointVariant(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.1)],
        )
        ModelEndpoint(
            self,
            "Always",
            business_unit=self._unit,
            registry=ModelRegistry(self, "AlwaysModels", business_unit=self._unit, name="always"),
            name="always",
            image=self._image,
            capacity=capacity,
            capture=DataCapture(sampling_percent=20),
        )

    def _define_owned(self) -> None:
        """A model that changes only with the stack."""
        ModelEndpoint(
            self,
            "Ranking",
            business_unit=self._unit,
            registry=ModelRegistry(self, "RankingModels", business_unit=self._unit, name="ranking"),
            name="ranking",
            image=self._image,
            capacity=EndpointCapacity.instances(
                "ml.m5.large", instance_count=2, scaling=Scaling(min_capacity=2, max_capacity=4, target_invocations=600)
            ),
            ownership=Ownership.CLOUDFORMATION,
            model_package_arn=_PACKAGE,
        )
