"""The platform team's unit, which creates the shared network of the app's business units."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2

from constructs import Construct
from mlops_constructs import BusinessUnit, Network, Profile


class RetailPlatform(cdk.Stack):
    """One network for all units: an account has five VPCs per Region by default, and endpoints have monthly costs.

    Args:
        services: Services called by the units besides ``INTERFACE_ENDPOINTS``; units only add endpoints to their own networks.
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
