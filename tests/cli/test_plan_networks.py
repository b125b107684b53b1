"""`mlops plan` names a network that a unit does not make and that does not reach KMS."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mlops_cli.plan_networks import _problem
from mlops_local.cloud import Cloud

Run = Callable[..., subprocess.CompletedProcess[str]]
KMS = "com.amazonaws.us-east-1.kms"


@pytest.fixture
def plan(on_cloud: Run, tmp_path: Path, unique_stack: str) -> Callable[..., str]:
    """Plan a recorder in subnets and return what is reported: ``plan(["subnet-1"], Parameter={...})``."""

    def run(subnets: list[Any], **parameters: Any) -> str:
        folder = tmp_path / "cdk.out"
        folder.mkdir(exist_ok=True)
        artifact = {
            "type": "aws:cloudformation:stack",
            "environment": "aws://unknown-account/unknown-region",
            "properties": {"templateFile": "stack.template.json"},
        }
        (folder / "manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": {unique_stack: artifact}}))
        function = {
            "VpcConfig": {"SubnetIds": subnets, "SecurityGroupIds": []},
            "Environment": {"Variables": {"SIGNING_KEY": "k"}},
        }
        resources = {
            "Own": {"Type": "AWS::EC2::Subnet", "Properties": {}},
            "Record": {"Type": "AWS::Lambda::Function", "Properties": function},
        }
        template = {"Resources": resources, "Parameters": parameters}
        (folder / "stack.template.json").write_text(json.dumps(template))
        result = on_cloud("plan", "--app", str(folder))
        assert result.returncode == 0, result.stderr
        return "\n".join(line for line in result.stderr.splitlines() if "network of stack" in line)

    return run


@pytest.fixture
def network(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """A network of the platform's, made in the account: its id and a subnet's, private and without a way out."""
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    yield vpc, subnet
    for gateway in ec2.describe_internet_gateways()["InternetGateways"]:
        if any(attached["VpcId"] == vpc for attached in gateway["Attachments"]):
            ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)  # an account has room for five


def test_a_network_without_a_way_to_kms_is_named_with_the_fix(plan: Any, cloud: Cloud, network: Any) -> None:
    """Once the endpoint is there, nothing is reported."""
    vpc, subnet = network
    said = plan([subnet])
    assert f"{vpc} does not reach KMS from {subnet}" in said
    assert f"add an interface endpoint {KMS} with private DNS names" in said

    ec2 = cloud.client("ec2")
    made = {"VpcId": vpc, "ServiceName": KMS, "VpcEndpointType": "Interface", "SubnetIds": [subnet]}
    ec2.create_vpc_endpoint(**made, PrivateDnsEnabled=True)
    assert plan([subnet]) == ""


def test_a_route_to_the_internet_will_do(plan: Any, cloud: Cloud, network: Any) -> None:
    """By a NAT gateway; an internet gateway carries no private address."""
    vpc, subnet = network
    ec2 = cloud.client("ec2")
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    internet = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=internet, VpcId=vpc)
    route = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}
    ec2.create_route(**route, GatewayId=internet)
    assert "does not reach KMS" in plan([subnet])
    nat = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")["NatGateway"]["NatGatewayId"]
    ec2.delete_route(**route)
    ec2.create_route(**route, NatGatewayId=nat)
    assert plan([subnet]) == ""


def test_what_is_not_known_is_reported(plan: Any, network: Any) -> None:
    """A subnet that is not there, and one that the deployment names; what the stack makes itself is not asked for."""
    _, subnet = network
    assert "is not known" in plan(["subnet-00000000000000000"])
    assert "is not known" in plan([{"Ref": "Given"}], Given={"Type": "String"})
    assert "does not reach KMS" in plan([{"Ref": "Given"}], Given={"Type": "String", "Default": subnet})
    assert plan([{"Ref": "Own"}]) == ""


@pytest.mark.parametrize(
    ("named", "state", "owner"), [(False, "available", "1"), (True, "pending", "1"), (True, "available", "1")]
)
def test_an_endpoint_counts_with_private_names_once_it_is_available(named: bool, state: str, owner: str) -> None:
    """And of a network of another account it is said that its endpoints may not be seen from here."""
    ec2 = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    endpoint = {"VpcId": "vpc-1", "ServiceName": KMS, "State": state, "PrivateDnsEnabled": named}
    with Stubber(ec2) as stubber:
        stubber.add_response("describe_subnets", {"Subnets": [{"VpcId": "vpc-1", "OwnerId": owner}]})
        stubber.add_response("describe_vpc_endpoints", {"VpcEndpoints": [endpoint]})
        stubber.add_response("describe_route_tables", {"RouteTables": []})
        found = _problem(ec2, ["subnet-1"], region="us-east-1", account="2")
    if named and state == "available":
        assert found is None
    else:
        assert found is not None
        assert found.endswith("; it is of account 1, whose endpoints may not be seen from here: ask there")
