"""Functions in a network reach only what its routes and endpoints lead to."""

import io
import json
import time
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from aws_cdk import aws_ec2 as ec2

from mlops_local.networks import reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud

pytestmark = pytest.mark.cloud

CODE = """
import boto3

def handler(event, context):
    client = boto3.client(event["service"], region_name=event.get("region"))
    try:
        getattr(client, event["operation"])(**event.get("arguments", {}))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "reached"
"""
S3 = {"service": "s3", "operation": "list_buckets"}
QUEUES = {"service": "sqs", "operation": "list_queues"}
MACHINES = {"service": "stepfunctions", "operation": "list_state_machines"}


@dataclass
class Network:
    """A network like a customer's, with a function in it."""

    cloud: "Cloud"
    name: str
    ids: dict[str, str]

    @property
    def ec2(self) -> Any:
        """EC2."""
        return self.cloud.client("ec2")

    def call(self, event: dict[str, Any]) -> str:
        """Call a service from the function; return ``reached``, or the error."""
        answer = self.cloud.client("lambda").invoke(FunctionName=self.name, Payload=json.dumps(event))
        return str(json.load(answer["Payload"]))


def _template(endpoints: dict[str, Any]) -> dict[str, Any]:
    vpc, subnet, table = {"Ref": "Vpc"}, {"Ref": "Subnet"}, {"Ref": "Table"}
    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    names = {"EnableDnsHostnames": True, "EnableDnsSupport": True}
    functions = {
        "GroupDescription": "functions",
        "VpcId": vpc,
        "SecurityGroupEgress": [{**https, "CidrIp": "0.0.0.0/0"}],
    }
    admits = {
        "GroupDescription": "endpoints",
        "VpcId": vpc,
        "SecurityGroupIngress": [{**https, "CidrIp": "10.2.0.0/16"}],
    }
    gateway = {"VpcId": vpc, "VpcEndpointType": "Gateway", "RouteTableIds": [table],
               "ServiceName": {"Fn::Sub": "com.amazonaws.${AWS::Region}.s3"}}  # fmt: skip
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "Vpc": ("VPC", {"CidrBlock": "10.2.0.0/16", **names}),
        "Subnet": ("Subnet", {"VpcId": vpc, "CidrBlock": "10.2.0.0/24"}),
        "Table": ("RouteTable", {"VpcId": vpc}),
        "Routes": ("SubnetRouteTableAssociation", {"SubnetId": subnet, "RouteTableId": table}),
        "Group": ("SecurityGroup", functions),
        "EndpointGroup": ("SecurityGroup", admits),
        "S3": ("VPCEndpoint", gateway),
    }
    resources = {
        name: {"Type": f"AWS::EC2::{kind}", "Properties": properties} for name, (kind, properties) in kinds.items()
    }
    for name, changes in endpoints.items():
        properties = {
            "VpcId": vpc, "VpcEndpointType": "Interface", "SubnetIds": [subnet], "PrivateDnsEnabled": True,
            "SecurityGroupIds": [{"Fn::GetAtt": ["EndpointGroup", "GroupId"]}],
            "ServiceName": {"Fn::Sub": f"com.amazonaws.${{AWS::Region}}.{name}"}, **changes,
        }  # fmt: skip
        resources[name.capitalize()] = {"Type": "AWS::EC2::VPCEndpoint", "Properties": properties}
    outputs = {
        "Group": {"Fn::GetAtt": ["Group", "GroupId"]},
        "EndpointGroup": {"Fn::GetAtt": ["EndpointGroup", "GroupId"]},
    }
    outputs |= {name: {"Ref": name} for name in resources if not name.endswith("Group")}
    return {"Resources": resources, "Outputs": {name: {"Value": value} for name, value in outputs.items()}}


@pytest.fixture
def make_network(cloud: "Cloud", unique: str) -> "Callable[..., Network]":
    """Make a network with a gateway endpoint of S3 and interface endpoints, and a function in it with full permissions."""

    def make(**endpoints: dict[str, Any]) -> Network:
        client = cloud.client("cloudformation")
        stack = client.create_stack(StackName=unique, TemplateBody=json.dumps(_template(endpoints)))["StackId"]
        while (found := client.describe_stacks(StackName=stack)["Stacks"][0])["StackStatus"].endswith("_IN_PROGRESS"):
            time.sleep(0.05)
        ids = {row["OutputKey"]: row["OutputValue"] for row in found["Outputs"]}
        _make_function(cloud, unique, {"SubnetIds": [ids["Subnet"]], "SecurityGroupIds": [ids["Group"]]})
        return Network(cloud, unique, ids)

    return make


def _make_function(cloud: "Cloud", name: str, config: dict[str, Any]) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = cloud.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]
    everything = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    policy = json.dumps({"Version": "2012-10-17", "Statement": everything})
    cloud.client("iam").put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", CODE)
    cloud.client("lambda").create_function(
        FunctionName=name, Runtime="python3.13", Handler="handler.handler", Role=role["Arn"], Timeout=60, VpcConfig=config,
        Code={"ZipFile": buffer.getvalue()},
    )  # fmt: skip


def test_a_function_reaches_services_by_their_endpoints(make_network: "Callable[..., Network]") -> None:
    """A service without an endpoint is the SDK's own connect timeout, which names the missing endpoint."""
    network = make_network(sqs={})

    assert network.call(S3) == network.call(QUEUES) == "reached"
    refused = network.call(MACHINES)
    assert refused.startswith(
        'ConnectTimeoutError: Connect timeout on endpoint URL: "https://states.us-east-1.amazonaws.com/"'
    )
    assert f"function {network.name} in {network.ids['Subnet']} of {network.ids['Vpc']}" in refused
    assert refused.endswith("no interface endpoint of states")


def test_reach_ends_with_the_endpoint(make_network: "Callable[..., Network]") -> None:
    """By whatever request it is deleted."""
    network = make_network(sqs={})
    assert network.call(QUEUES) == "reached"

    network.ec2.delete_vpc_endpoints(VpcEndpointIds=[network.ids["Sqs"]])

    assert network.call(QUEUES).endswith("no interface endpoint of sqs")


def test_a_gateway_endpoint_needs_the_subnets_route_table(make_network: "Callable[..., Network]") -> None:
    """Without its association the subnet uses the main table, which has no route to the endpoint."""
    network = make_network()
    assert network.call(S3) == "reached"

    network.ec2.disassociate_route_table(AssociationId=network.ids["Routes"])

    assert network.call(S3).partition(": no ")[0].count("route table rtb-") == 1


def test_an_interface_endpoint_needs_a_private_name(make_network: "Callable[..., Network]") -> None:
    """The public name of the service resolves to its public addresses."""
    assert make_network(sqs={"PrivateDnsEnabled": False}).call(QUEUES).endswith("set PrivateDnsEnabled")


def test_both_groups_have_to_admit_https(make_network: "Callable[..., Network]") -> None:
    """The endpoint's group must allow ingress, the caller's egress."""
    network = make_network(sqs={})
    (groups,) = network.ec2.describe_security_groups(GroupIds=[network.ids["EndpointGroup"]])["SecurityGroups"]
    rules = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.2.0.0/16"}]}]
    assert groups["IpPermissions"]

    network.ec2.revoke_security_group_ingress(GroupId=network.ids["EndpointGroup"], IpPermissions=rules)
    assert "do not allow port 443 from 10.2.0.0/24" in network.call(QUEUES)
    pair = [
        {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": network.ids["Group"]}]}
    ]
    network.ec2.authorize_security_group_ingress(GroupId=network.ids["EndpointGroup"], IpPermissions=pair)
    assert network.call(QUEUES) == "reached"
    rules[0]["IpRanges"] = [{"CidrIp": "0.0.0.0/0"}]
    network.ec2.revoke_security_group_egress(GroupId=network.ids["Group"], IpPermissions=rules)
    assert "allow no egress on port 443" in network.call(QUEUES)


def test_a_way_to_the_internet_leads_to_everything(make_network: "Callable[..., Network]") -> None:
    """A NAT gateway does; an internet gateway is useless for a private address."""
    network = make_network()
    gateway = network.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    route = {"RouteTableId": network.ids["Table"], "DestinationCidrBlock": "0.0.0.0/0"}

    network.ec2.create_route(**route, GatewayId=gateway)
    assert network.call(QUEUES).startswith("ConnectTimeoutError")
    network.ec2.replace_route(**route, NatGatewayId="nat-0123456789abcdef0")
    assert network.call(QUEUES) == network.call(MACHINES) == "reached"


def test_another_region_is_reached_by_the_internet_alone(make_network: "Callable[..., Network]") -> None:
    """An endpoint serves its own Region only, also if the other Region has the resource."""
    network = make_network(sqs={})
    assert network.call(QUEUES) == "reached"

    refused = network.call({**QUEUES, "region": "eu-west-1"})
    assert refused.startswith("ConnectTimeoutError")
    assert refused.endswith("no VPC endpoint leads to eu-west-1, another Region, and no route to the internet")
    assert network.call({**S3, "region": "eu-west-1"}).startswith("ConnectTimeoutError")
    route = {"RouteTableId": network.ids["Table"], "DestinationCidrBlock": "0.0.0.0/0"}
    network.ec2.create_route(**route, NatGatewayId="nat-0123456789abcdef0")
    assert network.call({**QUEUES, "region": "eu-west-1"}) == "reached"


def test_no_copy_crosses_regions_through_an_endpoint(make_network: "Callable[..., Network]", unique: str) -> None:
    """Also with a default route, because the endpoint's prefix is more specific; without the endpoint the copy uses that route."""
    network, s3 = make_network(), {}
    for region in ("us-east-1", "eu-west-1"):
        s3[region] = network.cloud.at(region=region).client("s3")
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3[region].create_bucket(Bucket=f"{unique}-{region}", **where)
        s3[region].put_object(Bucket=f"{unique}-{region}", Key="a b", Body=b"x")

    def copied(region: str, **more: object) -> str:
        source = {"Bucket": f"{unique}-{region}", "Key": "a b"}
        arguments = {"Bucket": f"{unique}-us-east-1", "Key": "to", "CopySource": source, **more}
        operation = "upload_part_copy" if more else "copy_object"
        return network.call({"service": "s3", "operation": operation, "arguments": arguments})

    assert copied("us-east-1") == "reached"
    part = {"PartNumber": 1, "UploadId": "any"}
    denied = "(AccessDenied) when calling the {} operation: VPC endpoints do not support cross-region requests"
    assert denied.format("CopyObject") in copied("eu-west-1")
    assert denied.format("UploadPartCopy") in copied("eu-west-1", **part)
    route = {"RouteTableId": network.ids["Table"], "DestinationCidrBlock": "0.0.0.0/0"}
    network.ec2.create_route(**route, NatGatewayId="nat-0123456789abcdef0")
    assert denied.format("CopyObject") in copied("eu-west-1")
    network.ec2.delete_vpc_endpoints(VpcEndpointIds=[network.ids["S3"]])
    assert copied("eu-west-1") == "reached"


def test_a_network_of_elsewhere_reaches_everything(cloud: "Cloud", unique: str) -> None:
    """The platform's shared network is outside this cloud, and assumed to be complete."""
    _make_function(
        cloud, unique, {"SubnetIds": ["subnet-0aaaaaaaaaaaaaaaa"], "SecurityGroupIds": ["sg-0aaaaaaaaaaaaaaaa"]}
    )

    assert Network(cloud, unique, {}).call(QUEUES) == "reached"


def test_a_function_leaves_its_network(make_network: "Callable[..., Network]") -> None:
    """A configuration update applies to the next call."""
    network = make_network()
    assert network.call(QUEUES).startswith("ConnectTimeoutError")

    network.cloud.client("lambda").update_function_configuration(
        FunctionName=network.name, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []}
    )

    assert network.call(QUEUES) == "reached"


def test_every_name_is_one_of_privatelink() -> None:
    """With a misspelt name an operation that AWS allows would fail."""
    services = ec2.InterfaceVpcEndpointAwsService
    wanted = {name for names in reach._INTERFACES.values() for name in names}
    wanted |= {"sagemaker.runtime", "sagemaker.metrics"}
    known = {getattr(services, member).short_name for member in dir(services) if member.isupper()}

    # on AWS's page, not in CDK's list: https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
    assert wanted - known == {"apigateway", "servicequotas"}


@pytest.mark.parametrize(
    ("service", "path", "target", "names"),
    [
        ("sagemaker", "/", "SageMaker.CreateTrainingJob", ("sagemaker.api",)),
        ("sagemaker", "/endpoints/first/invocations", "", ("sagemaker.runtime",)),
        ("sagemaker", "/BatchPutMetrics", "", ("sagemaker.metrics",)),
        ("states", "/", "AWSStepFunctions.StartExecution", ("states",)),
        ("states", "/", "AWSStepFunctions.StartSyncExecution", ("sync-states",)),
        ("monitoring", "/", "", ("monitoring",)),
        ("servicequotas", "/", "ServiceQuotasV20190624.ListServiceQuotas", ("servicequotas",)),
        ("organizations", "/", "", ()),
    ],
)
def test_an_operation_has_its_endpoints(service: str, path: str, target: str, names: tuple[str, ...]) -> None:
    """Several endpoints share SageMaker's and Step Functions' operations; an unlisted service has none."""
    assert reach.endpoint_names(service, path, target) == names
