"""Business units in their own network, in a shared one, and on resources managed by Terraform."""

import aws_cdk as cdk

from constructs import Construct
from mlops_constructs import BusinessUnit, Freeze, FreezeCalendar, Network, Platform, Profile


class Units(cdk.Stack):
    """Two units."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        # [start:unit]
        pricing = BusinessUnit(
            self,
            "Pricing",
            name="pricing",
            owner="pricing-team@example.com",
            cost_center="4711",
            profile=Profile.PRODUCTION,
            network=Network.from_shared_vpc(
                vpc_id="vpc-0123456789abcdef0",
                availability_zones=["eu-west-1a", "eu-west-1b"],
                subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
            ),
            freeze=FreezeCalendar.of(
                *Freeze.yearly(
                    name="peak season", years=[2026, 2027], start="11-15", end="12-27", time_zone="Europe/Berlin"
                ),
            ),
        )
        # [end:unit]
        self.people = pricing.bus.event_bus_name
        # [start:platform]
        platform = Platform(name="retail", availability_zone_count=2)
        BusinessUnit(self, "Demand", name="demand", platform=platform)
        # [end:platform]
