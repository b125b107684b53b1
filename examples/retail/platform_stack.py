"""The platform team's own unit: it makes the network that the business units of the app share."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2

from constructs import Construct
from mlops_constructs import BusinessUnit, Network, Profile


class RetailPlatform(cdk.Stack):
    """One network for all units: an account has five VPCs a region by default, and endpoints are paid by the month.

    Args:
        services: What the units call besides ``INTERFACE_ENDPOINTS``; units add endpoints to their own networks alone.
    """

    def __init__(
        self, scope: Construct, id: str, *, profile: Profile, zones: int | Sequence[str] | None, services: Sequence[str]
    ) -> None:
        super().__init__(scope, id)
        made = Network.create(availability_zones=zones)
        unit = BusinessUnit(self, "Unit", name="platform", profile=profile, network=made)
        unit.reach(services)
        isolated = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
        self.network = Network.from_vpc(vpc=unit.vpc, subnets=isolated)
