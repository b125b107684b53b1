"""Networks that EC2 rejects: over the quota, or in zones without a service.

See: https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mlops_constructs.business_unit.unit_network import INTERFACE_ENDPOINTS
from mlops_local.cloud import CloudError

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

SERVICE = "com.amazonaws.us-east-1.states"


def put(cloud: Any, path: str, body: object) -> None:
    """Set quotas or zones."""
    cloud.call(f"/_mlops/{path}", body)


def apply(cloud: Any, name: str, resources: dict[str, Any]) -> str:
    """Create a stack; return its failure reason, or an empty string."""
    stacks = cloud.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    while stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"].endswith("_IN_PROGRESS"):
        time.sleep(0.05)
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    return " | ".join(e.get("ResourceStatusReason", "") for e in events if e["ResourceStatus"] == "CREATE_FAILED")


def test_a_region_has_five_networks(own_cloud: Any) -> None:
    """Including the default one; a stack fails with the same message, and a raised quota allows more."""
    cloud = own_cloud()
    ec2 = cloud.client("ec2")
    (row,) = cloud.client("service-quotas").list_service_quotas(ServiceCode="vpc")["Quotas"]
    assert (row["QuotaCode"], row["Value"], len(ec2.describe_vpcs()["Vpcs"])) == ("L-F678F1CE", 5.0, 1)
    for _ in range(4):
        ec2.create_vpc(CidrBlock="10.0.0.0/16")
    with pytest.raises(ClientError) as refused:
        ec2.create_vpc(CidrBlock="10.0.0.0/16")
    error = {"Code": "VpcLimitExceeded", "Message": "The maximum number of VPCs has been reached."}
    assert refused.value.response["Error"] == error
    network = {"Network": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.1.0.0/16"}}}
    assert "The maximum number of VPCs has been reached. (Service: Ec2" in apply(cloud, "fifth", network)
    put(cloud, "quotas", {"VPCs per Region": 6})
    assert apply(cloud, "sixth", network) == ""
    assert len(ec2.describe_vpcs()["Vpcs"]) == 6


def test_a_zone_may_lack_a_service(cloud: Any, unique: str) -> None:
    """An endpoint in such a zone is rejected by the API and in a stack; one in another zone is created."""
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    first, second = (
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for number, zone in enumerate(("us-east-1a", "us-east-1b"))
    )
    requested = {"VpcId": vpc, "ServiceName": SERVICE, "VpcEndpointType": "Interface"}
    words = f"The VPC endpoint service {SERVICE} does not support the availability zone of the subnet: {first}."
    put(cloud, "zones", {SERVICE: ["us-east-1a"]})
    try:
        with pytest.raises(ClientError) as refused:
            ec2.create_vpc_endpoint(**requested, SubnetIds=[second, first])
        assert refused.value.response["Error"] == {"Code": "InvalidParameter", "Message": words}
        endpoint = {"Type": "AWS::EC2::VPCEndpoint", "Properties": {**requested, "SubnetIds": [first]}}
        assert words in apply(cloud, unique, {"Endpoint": endpoint})
        assert ec2.create_vpc_endpoint(**requested, SubnetIds=[second])["VpcEndpoint"]["State"] == "available"
    finally:
        put(cloud, "zones", {})
    cloud.client("cloudformation").delete_stack(StackName=unique)


def lack(cloud: Cloud, names: object) -> Any:
    """Remove services from the region."""
    return cloud.call("/_mlops/endpoint_services", names)


def services(cloud: Cloud) -> dict[str, list[str]]:
    """Return the zones of each service."""
    details = cloud.client("ec2").describe_vpc_endpoint_services()["ServiceDetails"]
    return {detail["ServiceName"]: detail["AvailabilityZones"] for detail in details}


def test_the_region_has_what_networks_use(cloud: Cloud) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcEndpointServices.html."""
    found = services(cloud)

    assert {f"com.amazonaws.us-east-1.{name}" for name in INTERFACE_ENDPOINTS} <= set(found)
    assert found["com.amazonaws.us-east-1.states"] == ["us-east-1a", "us-east-1b", "us-east-1c"]


def test_a_region_may_lack_a_service(cloud: Cloud) -> None:
    """Until it is restored; an unknown name is rejected."""
    try:
        assert "states" not in lack(cloud, ["states"])
        assert "com.amazonaws.us-east-1.states" not in services(cloud)
        with pytest.raises(CloudError, match="telepathy"):
            lack(cloud, ["telepathy"])
    finally:
        lack(cloud, [])
    assert "com.amazonaws.us-east-1.states" in services(cloud)
