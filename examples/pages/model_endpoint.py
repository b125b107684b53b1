"""Endpoints on scaled instances with monitors, a serverless endpoint, and an asynchronous one."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    DriftAlarms,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    Network,
    PersonalData,
    Profile,
    Scaling,
    off_hours,
)


class Endpoints(cdk.Stack):
    """Three endpoints of one unit."""

    def __init__(self, scope: Construct, id: str, *, network: Network, image: ModelImage) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="search", profile=Profile.DEVELOPMENT, network=network)
        registries = {
            name: ModelRegistry(self, name, business_unit=unit, name=name.lower()) for name in ("Fast", "Rare", "Bulk")
        }
        # [start:personal]
        capture = DataCapture(
            sampling_percent=20, personal_data=PersonalData(hashed=("household",), withheld=("email",))
        )
        # [end:personal]
        # [start:instances]
        hours = off_hours(
            min_capacity=2, max_capacity=8, off_min_capacity=2, off_max_capacity=2, time_zone="Europe/Berlin"
        )
        capacity = EndpointCapacity.instances(
            "ml.m5.large",
            instance_count=2,
            scaling=Scaling(min_capacity=2, max_capacity=8, target_invocations=600, schedules=hours),
        )
        endpoint = ModelEndpoint(
            self,
            "FastEndpoint",
            business_unit=unit,
            registry=registries["Fast"],
            name="fast",
            image=image,
            capacity=capacity,
            capture=capture,
        )
        shop = iam.Role.from_role_arn(self, "Shop", f"arn:aws:iam::{self.account}:role/shop")
        endpoint.grant_invoke(shop)
        # [end:instances]
        # [start:monitor]
        day = cdk.Duration.days(1)
        monitor = ModelMonitor(self, "Monitor", endpoint=endpoint, window=day, interval=day)
        DriftAlarms(self, "Alarms", monitor=monitor)
        # [end:monitor]
        # [start:serverless]
        ModelEndpoint(
            self,
            "RareEndpoint",
            business_unit=unit,
            registry=registries["Rare"],
            name="rare",
            image=image,
            capacity=EndpointCapacity.serverless(memory=cdk.Size.gibibytes(2), max_concurrency=10),
        )
        # [end:serverless]
        # [start:asynchronous]
        ModelEndpoint(
            self,
            "BulkEndpoint",
            business_unit=unit,
            registry=registries["Bulk"],
            name="bulk",
            image=image,
            capacity=EndpointCapacity.asynchronous(
                "ml.m5.large", instance_count=1, scaling=Scaling(min_capacity=0, max_capacity=4, target_backlog=5)
            ),
        )
        # [end:asynchronous]
