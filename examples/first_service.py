"""The smallest stack on a platform team's cluster. Its first model serves as soon as a package is approved."""

import aws_cdk as cdk

from constructs import Construct
from mlops_constructs import BusinessUnit, EksCluster, EksInferenceService, EksTenant, ModelRegistry, Network, Profile


class FirstService(cdk.Stack):
    """One service in two slots, in a development unit; network and cluster belong to the platform team."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        network = Network.from_shared_vpc(
            vpc_id="vpc-0f3a5c7e9b1d2f4a6",
            availability_zones=["eu-central-1a", "eu-central-1b"],
            subnet_ids=["subnet-01a2b3c4d5e6f7089", "subnet-098f7e6d5c4b3a210"],
        )
        unit = BusinessUnit(self, "Unit", name="pilot", profile=Profile.DEVELOPMENT, network=network)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="first")
        group, cidrs = "sg-0123456789abcdef0", ["10.0.0.0/20", "10.0.16.0/20"]
        own = {"eu-central-1a": "subnet-0aa1b2c3d4e5f6071", "eu-central-1b": "subnet-0bb1b2c3d4e5f6072"}
        cluster = EksCluster.from_cluster_attributes(
            self, "Cluster", name="retail", security_group_id=group, subnet_cidrs=cidrs, load_balancer_subnets=own
        )
        tenant = EksTenant(self, "Tenant", business_unit=unit, cluster=cluster)
        EksInferenceService(self, "Service", tenant=tenant, registry=registry, name="first")
