"""Attributes of a cluster; problems are reported all at once."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk.assertions import Annotations, Match, Template

from mlops_constructs import EksCluster, ValidationError

KNOWN: dict[str, Any] = {
    "name": "retail",
    "security_group_id": "sg-0123456789abcdef0",
    "subnet_cidrs": ["10.0.0.0/20", "10.0.16.0/20"],
}


def _cluster(**changes: Any) -> EksCluster:
    return EksCluster.from_cluster_attributes(cdk.Stack(cdk.App(), "S"), "Cluster", **{**KNOWN, **changes})


def test_what_is_not_said_is_what_auto_mode_does() -> None:
    """Defaults are those of Auto Mode: pods use the cluster's security group, and EKS binds target groups."""
    cluster = _cluster()
    assert (cluster.pod_security_group_id, cluster.binding_api) == (cluster.security_group_id, "eks.amazonaws.com/v1")
    assert (cluster.egress_cidrs, cluster.dns_cidrs, cluster.vpc_id) == (("0.0.0.0/0",), None, None)
    assert _cluster(auto_mode=False).binding_api == "elbv2.k8s.aws/v1beta1"
    assert _cluster(pod_security_group_id="sg-00000000").pod_security_group_id == "sg-00000000"


def test_fails_with_everything_that_is_wrong() -> None:
    """Reports everything in one error for an operator who copied half of the attributes."""
    with pytest.raises(ValidationError) as caught:
        _cluster(
            name="",
            security_group_id="default",
            vpc_id="vpc",
            pod_security_group_id="sg-x",
            subnet_cidrs=["10.0.0.1/20", "fd00::/64"],
            egress_cidrs=[],
            dns_cidrs=["dns"],
        )
    assert caught.value.code == "InvalidEksCluster"
    assert [problem.split(" must")[0] for problem in caught.value.problems] == [
        "name",
        "security_group_id",
        "vpc_id",
        "pod_security_group_id",
        "subnet_cidrs",
        "subnet_cidrs",
        "egress_cidrs",
        "dns_cidrs",
    ]
    assert "aws eks describe-cluster" in caught.value.problems[0]


@pytest.mark.parametrize("name", ["-retail", "re tail", "a" * 101])
def test_fails_when_the_name_is_none_of_a_cluster(name: str) -> None:
    """Names follow EKS's rules."""
    with pytest.raises(ValidationError, match="name must be 1 to 100 letters"):
        _cluster(name=name)


def test_addresses_are_known_at_synth() -> None:
    """Manifests are rendered at synthesis, so tokens are rejected by name."""
    parameter = cdk.CfnParameter(cdk.Stack(cdk.App(), "S"), "Block")
    with pytest.raises(ValidationError, match=r"subnet_cidrs must be IPv4 blocks .*, known at synth"):
        _cluster(subnet_cidrs=[parameter.value_as_string])


@pytest.mark.parametrize("block", ["10.0.0.0", "0.0.0.0/0", "10.0.0.0/29"])
def test_a_subnet_has_the_size_of_one(block: str) -> None:
    """A missing prefix would admit a single address, a wrong one everyone."""
    with pytest.raises(ValidationError, match=rf"subnet_cidrs must be of subnets, /16 to /28, got '{block}'; write"):
        _cluster(subnet_cidrs=[block])


def test_a_cluster_of_the_same_app_is_known_by_itself() -> None:
    """Takes name, network and security group from the construct."""
    stack = cdk.Stack(cdk.App(), "S")
    vpc = ec2.Vpc.from_vpc_attributes(stack, "Vpc", vpc_id="vpc-12345678", availability_zones=["a", "b"])
    made = eks.Cluster.from_cluster_attributes(
        stack, "Made", cluster_name="retail", vpc=vpc, cluster_security_group_id="sg-12345678"
    )
    cluster = EksCluster.from_cluster(stack, "Cluster", cluster=made, subnet_cidrs=["10.0.0.0/20"])
    assert (cluster.name, cluster.security_group_id, cluster.vpc_id) == ("retail", "sg-12345678", "vpc-12345678")


def test_functions_are_let_in_on_one_port() -> None:
    """Adds only this rule to the cluster's security group."""
    stack = cdk.Stack(cdk.App(), "S")
    cluster = EksCluster.from_cluster_attributes(stack, "Cluster", **KNOWN)
    cluster.admit(stack, "Ingress", group=ec2.SecurityGroup.from_security_group_id(stack, "Group", "sg-87654321"))
    Template.from_stack(stack).has_resource_properties(
        "AWS::EC2::SecurityGroupIngress",
        {
            "GroupId": KNOWN["security_group_id"],
            "SourceSecurityGroupId": "sg-87654321",
            "FromPort": 443,
            "ToPort": 443,
            "IpProtocol": "tcp",
        },
    )


def _warnings(**changes: Any) -> list[str]:
    stack = cdk.Stack(cdk.App(), "S")
    EksCluster.from_cluster_attributes(stack, "Cluster", **{**KNOWN, **changes})
    return [str(found.entry.data) for found in Annotations.from_stack(stack).find_warning("*", Match.any_value())]


def test_shared_subnets_are_warned_of() -> None:
    """A CIDR block admits everything in its subnets; dedicated load-balancer subnets avoid that."""
    own = {"eu-central-1a": "subnet-01a2b3c4d5e6f7089", "eu-central-1b": "subnet-098f7e6d5c4b3a210"}
    (warning,) = _warnings()
    assert "mlops-constructs:EksCluster.sharedSubnets" in warning
    assert "set load_balancer_subnets to subnets" in warning
    assert _warnings(load_balancer_subnets=own) == []
    assert _cluster(load_balancer_subnets=own).load_balancer_subnets == own
    assert _cluster().load_balancer_subnets is None


@pytest.mark.parametrize(
    ("subnets", "message"),
    [
        ({"eu-central-1a": "subnet-01a2b3c4d5e6f7089"}, "must be in at least 2 zones"),
        (
            {"eu-central-1a": "subnet-01a2b3c4d5e6f7089", "eu-central-1b": "10.0.0.0/20"},
            "must be subnets by zone such as",
        ),
    ],
)
def test_fails_when_subnets_of_their_own_are_none(subnets: dict[str, str], message: str) -> None:
    """Elastic Load Balancing requires subnets in two zones or more."""
    with pytest.raises(ValidationError, match=message):
        _cluster(load_balancer_subnets=subnets)


@pytest.mark.parametrize("zone", ["euc1-az1", "usw2-lax1-az1", "", "x y", "eu-central-1", "eu-central-1a "])
def test_a_zone_is_named_as_nodes_are_labelled(zone: Any) -> None:
    """A zone id is not a node label: pods could not be scheduled into the load balancer's zone."""
    subnets = {zone: "subnet-01a2b3c4d5e6f7089", "eu-central-1b": "subnet-098f7e6d5c4b3a210"}
    with pytest.raises(ValidationError) as caught:
        _cluster(load_balancer_subnets=subnets)
    (problem,) = caught.value.problems
    assert f"a zone of load_balancer_subnets must be a zone's name such as 'eu-central-1a', got {zone!r}" in problem
    assert "aws ec2 describe-subnets" in problem


@pytest.mark.parametrize("zone", ["us-gov-west-1a", "us-west-2-lax-1a", "us-east-1-wl1-bos-wlz-1"])
def test_zones_beside_a_region_are_named_too(zone: str) -> None:
    """Accepts Local Zones and Wavelength Zones; skips zones known at deployment."""
    stack = cdk.Stack(cdk.App(), "S")
    own = {zone: "subnet-01a2b3c4d5e6f7089", cdk.Fn.select(0, stack.availability_zones): "subnet-098f7e6d5c4b3a210"}
    assert _cluster(load_balancer_subnets=own).load_balancer_subnets == own


@pytest.mark.parametrize("given", ["subnet-01a2b3c4d5e6f7089", ["subnet-01a2b3c4d5e6f7089"], 5])
def test_fails_when_subnets_are_no_mapping(given: Any) -> None:
    """Rejects a list of subnets, which has no zones."""
    with pytest.raises(
        ValidationError, match=r"load_balancer_subnets must be a mapping of strings to strings, or left out, got"
    ):
        _cluster(load_balancer_subnets=given)


def test_every_problem_of_types_is_named_at_once() -> None:
    """Types are checked because a true-like string would select the wrong controller."""
    with pytest.raises(ValidationError) as caught:
        _cluster(
            name=5,
            subnet_cidrs="10.0.0.0/20",
            auto_mode="no",
            load_balancer_subnets={
                "euc1-az1": 7,
                "eu-central-1a": "subnet-01234567",
                "eu-central-1b": "subnet-01234567",
            },
        )
    reported = [
        (problem.split(" must")[0], problem.split("got ")[1].split(";")[0]) for problem in caught.value.problems
    ]
    assert reported == [
        ("name", "5"),
        ("subnet_cidrs", "'10.0.0.0/20'"),
        ("auto_mode", "'no'"),
        (
            "load_balancer_subnets",
            "{'euc1-az1': 7, 'eu-central-1a': 'subnet-01234567', 'eu-central-1b': 'subnet-01234567'}",
        ),
    ]
