"""The API of a unit's models: callers with IAM signatures, a service level, and a usage plan for partners."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    InferenceApi,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Network,
    Profile,
    Quota,
    RequestSchema,
)


class Forecasts(cdk.Stack):
    """A unit with a model and its API."""

    def __init__(self, scope: Construct, id: str, *, profile: Profile, image: ModelImage, network: Network) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="forecasts", profile=profile, network=network)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="forecast")
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="forecast",
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        )
        # [start:api]
        api = InferenceApi(self, "Api", business_unit=unit)
        api.add_model(
            "forecast",
            endpoint,
            request=RequestSchema.from_file("examples/pages/forecast.schema.json"),
            timeout=cdk.Duration.seconds(10),
            max_rate=20,
        )
        shop = iam.Role.from_role_arn(self, "Shop", f"arn:aws:iam::{self.account}:role/shop")
        api.grant_predict(shop, "forecast")
        # [end:api]
        self.api = api


def with_partners(api: InferenceApi) -> None:
    """Limit the calls of each partner's key."""
    # [start:plan]
    partners = api.add_plan("partners", rate=20, burst=40, quota=Quota.per_day(50_000))
    partners.add_api_key(api.rest_api.add_api_key("Bakery"))
    # [end:plan]
