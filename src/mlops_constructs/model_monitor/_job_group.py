"""The security group of a monitor's jobs: the unit's, or for several instances one that allows traffic between them."""

from aws_cdk import aws_ec2 as ec2

from constructs import Construct
from mlops_constructs.unit_interface import IBusinessUnit

_ID = "JobGroup"


def define_job_group(
    scope: Construct, *, business_unit: IBusinessUnit, endpoint_name: str, count: int
) -> ec2.ISecurityGroup:
    """Return the security group of a job's instances; a monitor defines at most one.

    The unit's group has no inbound rule, so that instances of a job could not reach each other. Encrypted traffic between them
    needs UDP 500 and protocol 50 (ESP) in both directions within the group.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html

    Args:
        scope: Construct of the monitor.
        business_unit: Owning business unit.
        endpoint_name: Name of the monitored endpoint.
        count: Number of instances of the job.
    """
    if count == 1:
        return business_unit.security_group
    known = scope.node.try_find_child(_ID)
    if isinstance(known, ec2.SecurityGroup):
        return known
    group = ec2.SecurityGroup(
        scope,
        _ID,
        vpc=business_unit.vpc,
        description=f"Instances of the job that watches {endpoint_name}",
        allow_all_outbound=False,
    )
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services, through the network's endpoints")
    for port, what in ((ec2.Port.all_tcp(), "Data"), (ec2.Port.udp(500), "IPsec keys"), (ec2.Port.esp(), "IPsec")):
        group.connections.allow_internally(port, f"{what} between the job's instances")
    group.node.add_dependency(business_unit.connectivity_established)
    return group
