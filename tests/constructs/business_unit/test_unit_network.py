"""Networks that a unit creates or reuses, and their prices."""

import ipaddress
import json
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk.assertions import Annotations, Match, Template
from hypothesis import given
from hypothesis import strategies as st

from mlops_constructs import BusinessUnit, Network, Profile, ValidationError
from mlops_constructs.business_unit.unit_network import INTERFACE_ENDPOINTS, monthly_price, subnet_blocks


@pytest.fixture(scope="module")
def template() -> Template:
    """A unit that creates its network."""
    stack = cdk.Stack(cdk.App(), "S")
    BusinessUnit(
        stack, "Unit", name="demand", network=Network.create(cidr="10.9.0.0/16", endpoints=["states", "sagemaker.api"])
    )
    return Template.from_stack(stack)


def test_nothing_leads_to_the_internet(template: Template) -> None:
    """Has only the gateway endpoints of S3 and DynamoDB and no public address."""
    template.resource_count_is("AWS::EC2::InternetGateway", 0)
    template.resource_count_is("AWS::EC2::NatGateway", 0)
    template.all_resources_properties("AWS::EC2::Subnet", {"MapPublicIpOnLaunch": False})


def test_a_concrete_environment_asks_aws_nothing() -> None:
    """Selects zones by index in the Region's list, so synthesis needs no lookup."""
    app = cdk.App()
    stack = cdk.Stack(app, "S", env=cdk.Environment(account="111111111111", region="eu-west-1"))
    BusinessUnit(stack, "Unit", name="demand")
    assembly = Path(app.synth().directory)

    # https://docs.aws.amazon.com/cdk/api/v2/docs/cloud-assembly-schema-readme.html: lookups of the CLI
    assert "missing" not in json.loads((assembly / "manifest.json").read_text())
    zones = [
        resource["Properties"]["AvailabilityZone"]
        for resource in json.loads((assembly / "S.template.json").read_text())["Resources"].values()
        if resource["Type"] == "AWS::EC2::Subnet"
    ]
    assert zones == [{"Fn::Select": [zone, {"Fn::GetAZs": ""}]} for zone in (0, 1)]


def test_named_zones_are_those_of_the_subnets() -> None:
    """Accepts zone names, only of the stack's Region if it is known."""
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="123456789012", region="us-east-1"))
    BusinessUnit(stack, "Unit", name="demand", network=Network.create(availability_zones=["us-east-1b", "us-east-1d"]))
    subnets = Template.from_stack(stack).find_resources("AWS::EC2::Subnet").values()
    assert [subnet["Properties"]["AvailabilityZone"] for subnet in subnets] == ["us-east-1b", "us-east-1d"]

    other = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="123456789012", region="us-west-2"))
    with pytest.raises(ValidationError, match="zones must be of the stack's Region us-west-2, got us-east-1b"):
        BusinessUnit(other, "Unit", name="demand", network=Network.create(availability_zones=["us-east-1b"]))


@given(prefix=st.integers(min_value=16, max_value=25), zones=st.integers(min_value=1, max_value=6))
def test_blocks_of_zones_lie_apart_in_the_network(prefix: int, zones: int) -> None:
    """CIDR blocks of zones do not overlap and have at least the subnet size that AWS requires."""
    whole = ipaddress.IPv4Network(("10.0.0.0", prefix))
    blocks = [ipaddress.IPv4Network(block) for block in subnet_blocks(str(whole), zones)]

    assert len(blocks) == zones
    assert all(block.subnet_of(whole) and block.prefixlen <= 28 for block in blocks)
    assert not any(one.overlaps(other) for one in blocks for other in blocks if one is not other)


def test_endpoints_take_this_accounts_principals_from_the_network_only(template: Template) -> None:
    """Endpoint policies require principals of this account."""
    interfaces = template.find_resources("AWS::EC2::VPCEndpoint", {"Properties": {"VpcEndpointType": "Interface"}})

    assert len(interfaces) == 2
    for endpoint in interfaces.values():
        condition = endpoint["Properties"]["PolicyDocument"]["Statement"][0]["Condition"]
        assert condition == {"StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}}
    template.has_resource_properties(
        "AWS::EC2::SecurityGroup",
        {"SecurityGroupIngress": [Match.object_like({"CidrIp": "10.9.0.0/16", "FromPort": 443, "ToPort": 443})]},
    )


def test_all_traffic_is_logged(template: Template) -> None:
    """Flow logs of accepted and rejected traffic go to a log group of the unit."""
    template.has_resource_properties("AWS::EC2::FlowLog", {"TrafficType": "ALL", "ResourceType": "VPC"})


def test_what_runs_has_no_ingress_and_speaks_tls_only(template: Template) -> None:
    """Egress is limited to port 443."""
    template.has_resource_properties(
        "AWS::EC2::SecurityGroup",
        {
            "GroupDescription": "Functions, jobs and endpoints of unit demand",
            "SecurityGroupIngress": Match.absent(),
            "SecurityGroupEgress": [Match.object_like({"FromPort": 443, "ToPort": 443, "IpProtocol": "tcp"})],
        },
    )


@pytest.mark.parametrize(
    ("region", "price"),
    [("us-east-1", 7 * 2 * 0.01 * 730), ("eu-central-1", 7 * 2 * 0.012 * 730), ("xx-north-9", 7 * 2 * 0.01 * 730)],
)
def test_price_is_endpoints_by_zones_by_hours(region: str, price: float) -> None:
    """Unlisted Regions show us-east-1's price."""
    assert monthly_price(endpoints=7, zones=2, region=region) == pytest.approx(price)


def test_the_price_is_printed() -> None:
    """The notice shows the network's price and cheaper alternatives."""
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="111111111111", region="eu-west-1"))

    BusinessUnit(stack, "Unit", name="demand", profile=Profile.DEVELOPMENT)

    text = Match.string_like_regexp(
        r"costs about 56\.21 USD a month: 7 interface endpoints in 1 zone at .* of eu-west-1"
    )
    Annotations.from_stack(stack).has_info("/S/Unit/Network", text)


def test_further_services_are_reached_once_and_priced() -> None:
    """Adds no second endpoint for a reachable service, and prints the price of added ones."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand", network=Network.create(endpoints=["sts"]))
    for _ in range(2):
        unit.reach(["sts", "eks", "elasticloadbalancing"])

    template = Template.from_stack(stack)
    template.resource_count_is("AWS::EC2::VPCEndpoint", 2 + 3)
    template.resource_count_is("AWS::EC2::SecurityGroup", 2)
    message = r"eks, elasticloadbalancing for unit 'demand' cost another about 29\.20 USD a month: 2 interface endpoints in 2 zones"
    Annotations.from_stack(stack).has_info("*", Match.string_like_regexp(message))


def test_whatever_runs_waits_for_endpoints_that_are_added_later() -> None:
    """The unit's security group, used by all compute, depends on each endpoint and route; none of them depends on the group."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand", network=Network.create(endpoints=["sts"], availability_zones=2))
    own = ec2.SecurityGroup(stack, "Own", vpc=unit.vpc)
    own.node.add_dependency(unit.connectivity_established)
    unit.reach(["eks"])

    resources = Template.from_stack(stack).to_json()["Resources"]
    ways = {
        name
        for name, resource in resources.items()
        if resource["Type"] in ("AWS::EC2::VPCEndpoint", "AWS::EC2::SubnetRouteTableAssociation")
    }
    groups = [resource for name, resource in resources.items() if name.startswith(("UnitSecurityGroup", "Own"))]
    assert len(ways) == 2 + 2 + 2
    assert [set(group["DependsOn"]) for group in groups] == [ways, ways]


def test_gateway_endpoints_admit_other_accounts_buckets(template: Template) -> None:
    """Custom resources answer to CloudFormation's bucket, which a policy limited to this account would block."""
    gateways = template.find_resources("AWS::EC2::VPCEndpoint", {"Properties": {"VpcEndpointType": "Gateway"}})

    assert len(gateways) == 2
    assert all("PolicyDocument" not in gateway["Properties"] for gateway in gateways.values())


def test_another_network_is_there_already() -> None:
    """Adds no dependency on endpoints of an existing network."""
    stack = cdk.Stack(cdk.App(), "S")
    network = Network.from_shared_vpc(vpc_id="vpc-12345678", availability_zones=["a"], subnet_ids=["subnet-12345678"])
    BusinessUnit(stack, "Unit", name="demand", network=network)

    (group,) = Template.from_stack(stack).find_resources("AWS::EC2::SecurityGroup").values()
    assert "DependsOn" not in group


def test_a_given_network_reaches_services_by_itself() -> None:
    """Adds nothing to an existing network."""
    stack = cdk.Stack(cdk.App(), "S")
    network = Network.from_shared_vpc(vpc_id="vpc-12345678", availability_zones=["a"], subnet_ids=["subnet-12345678"])
    BusinessUnit(stack, "Unit", name="demand", network=network).reach(["eks"])

    Template.from_stack(stack).resource_count_is("AWS::EC2::VPCEndpoint", 0)


def test_a_made_network_has_defaults() -> None:
    """CIDR and endpoints have defaults; zones depend on the profile."""
    network = Network.create()

    assert (network.cidr, network.endpoints, network.zones, network.vpc) == (
        "10.0.0.0/16",
        INTERFACE_ENDPOINTS,
        None,
        None,
    )


def test_no_endpoints_is_a_choice() -> None:
    """An empty list differs from the default."""
    assert Network.create(endpoints=[]).endpoints == ()


@pytest.mark.parametrize("cidr", ["10.0.0.1/16", "10.0.0.0/15", "10.0.0.0/26", "everything", "::/56"])
def test_fails_on_addresses_that_no_network_has(cidr: str) -> None:
    """Reports both problems with the allowed values."""
    with pytest.raises(ValidationError) as error:
        Network.create(cidr=cidr, availability_zones=7)

    assert f"/16 to /25 whose host bits are 0, such as '10.20.0.0/16', got {cidr!r}" in str(error.value)
    assert "zones must be from 1 to 6, got 7" in str(error.value)


def test_a_given_network_keeps_what_was_given() -> None:
    """Uses network and subnets unchanged."""
    vpc = ec2.Vpc(cdk.Stack(cdk.App(), "S"), "Vpc")
    subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)

    network = Network.from_vpc(vpc=vpc, subnets=subnets)

    assert network.vpc is vpc
    assert network.subnets is subnets


def test_a_shared_network_is_ids() -> None:
    """A network of another account is given by ids."""
    network = Network.from_shared_vpc(vpc_id="vpc-1", availability_zones=["a"], subnet_ids=["subnet-1"])

    assert (network.shared_vpc_id, network.shared_zones, network.shared_subnet_ids) == ("vpc-1", ("a",), ("subnet-1",))


def test_zones_can_be_named() -> None:
    """Keeps the order; a single string is rejected as a list of zones."""
    network = Network.create(availability_zones=["us-east-1b", "us-east-1c"])

    assert (network.zones, network.zone_names) == (2, ("us-east-1b", "us-east-1c"))
    assert Network.create(availability_zones=("us-east-1b", "us-east-1c")) == network
    with pytest.raises(ValidationError, match=r"got 'us-east-1b'; write \['us-east-1b'\] for a list of one"):
        Network.create(availability_zones="us-east-1b")
    assert Network.create(availability_zones=2).zone_names == ()


@pytest.mark.parametrize(
    ("zones", "problem"),
    [
        (["b"], "zones must be names such as 'us-east-1b', or a number, got 'b'"),
        (["us-east-1b", "us-east-1b"], "zones must differ, got us-east-1b twice"),
        (["us-east-1b", "eu-west-1b"], "zones must be of one Region, got eu-west-1 and us-east-1"),
        ([], "zones must be from 1 to 6, got 0"),
    ],
)
def test_fails_on_zones_that_no_network_has(zones: list[str], problem: str) -> None:
    """The error names the allowed values."""
    with pytest.raises(ValidationError) as error:
        Network.create(availability_zones=zones)

    assert problem in str(error.value)
