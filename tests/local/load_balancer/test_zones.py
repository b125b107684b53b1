"""Zones of load balancers: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-subnets.html."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.load_balancer.conftest import SUBNETS

from mlops_local.cloud import Cloud
from mlops_local.load_balancer import zones


def _zone_of(cloud: Cloud, subnet: str) -> str:
    found = cloud.client("ec2").describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailabilityZone"]
    return str(found)


def test_a_balancer_stands_in_the_zones_of_its_subnets(cloud: Cloud, slots: dict[str, Any]) -> None:
    """DescribeLoadBalancers names each subnet's own zone: botocore, elbv2, AvailabilityZone."""
    elb = cloud.client("elbv2")

    (found,) = elb.describe_load_balancers(LoadBalancerArns=[slots["balancer"]])["LoadBalancers"]

    assert {row["SubnetId"]: row["ZoneName"] for row in found["AvailabilityZones"]} == {
        subnet: _zone_of(cloud, subnet) for subnet in SUBNETS
    }
    changed = elb.set_subnets(LoadBalancerArn=slots["balancer"], Subnets=[SUBNETS[0], "subnet-00000003"])
    assert {row["ZoneName"] for row in changed["AvailabilityZones"]} == {
        _zone_of(cloud, subnet) for subnet in (SUBNETS[0], "subnet-00000003")
    }


@pytest.mark.parametrize("subnets", [["subnet-00000001"], ["subnet-00000001", "subnet-00000001"]])
def test_a_balancer_needs_subnets_in_two_zones(cloud: Cloud, unique: str, subnets: list[str]) -> None:
    """API_CreateLoadBalancer, Subnets: "You must specify subnets from at least two Availability Zones"."""
    with pytest.raises(ClientError, match="two subnets in two different Availability Zones") as refused:
        cloud.client("elbv2").create_load_balancer(Name=unique, Subnets=subnets)

    assert refused.value.response["Error"]["Code"] == "ValidationError"


def test_subnets_of_a_shared_network_are_taken_as_they_are(cloud: Cloud, unique: str) -> None:
    """They belong to another account outside this cloud; each counts as a zone."""
    elb = cloud.client("elbv2")
    made = elb.create_load_balancer(Name=unique, Subnets=["subnet-0shared1", "subnet-0shared2"])["LoadBalancers"][0]

    assert [row["SubnetId"] for row in made["AvailabilityZones"]] == ["subnet-0shared1", "subnet-0shared2"]
    elb.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])


def test_a_group_that_keeps_to_zones_is_refused(cloud: Cloud, slots: dict[str, Any]) -> None:
    """One proxy serves every zone: load_balancing.cross_zone.enabled of TargetGroupAttribute."""
    elb, key = cloud.client("elbv2"), "load_balancing.cross_zone.enabled"

    with pytest.raises(ClientError, match=f"{key}=false is not in the embedded cloud"):
        elb.modify_target_group_attributes(TargetGroupArn=slots["blue"], Attributes=[{"Key": key, "Value": "false"}])

    usual = [{"Key": key, "Value": "use_load_balancer_configuration"}]
    assert elb.modify_target_group_attributes(TargetGroupArn=slots["blue"], Attributes=usual)["Attributes"]


@pytest.mark.parametrize(
    ("value", "is_taken"),
    [("true", True), ("use_load_balancer_configuration", True), ("false", False), ("maybe", False)],
)
def test_balancing_across_zones_stays_on(value: str, is_taken: bool) -> None:
    """Other attributes do not affect it."""
    other = {"Key": "deregistration_delay.timeout_seconds", "Value": "30"}
    problem = zones.attribute_problem([other, {"Key": zones.CROSS_ZONE, "Value": value}])

    assert (problem is None) is is_taken
    assert zones.attribute_problem([other]) is None
    if problem is not None:
        assert f"{zones.CROSS_ZONE}={value} is not in the embedded cloud" in problem[1]


def test_a_subnet_of_elsewhere_is_a_zone_of_its_own() -> None:
    """Subnets that were not created in this process: two of them are two zones, one of them twice is one."""
    assert zones.of_subnet("subnet-0shared1") == zones.ANY
    assert zones.subnet_problem(["subnet-0shared1", "subnet-0shared2"]) is None
    assert zones.subnet_problem(["subnet-0shared1", "subnet-0shared1"]) is not None
    assert zones.subnet_problem([]) is not None
