"""Made networks and what they cost.

Kinds of network.
"""

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
    """A unit with a made network."""
    stack = cdk.Stack(cdk.App(), "S")
    BusinessUnit(
        stack, "Unit", name="demand", network=Network.create(cidr="10.9.0.0/16", endpoints=["states", "sagemaker.api"])
    )
    return Template.from_stack(stack)


def test_nothing_leads_to_the_internet(template: Template) -> None:
    """No gateway but those of S3 and DynamoDB, no public address."""
    template.resource_count_is("AWS::EC2::InternetGateway", 0)
    template.resource_count_is("AWS::EC2::NatGateway", 0)
    template.all_resources_properties("AWS::EC2::Subnet", {"MapPublicIpOnLaunch": False})


def test_a_concrete_environment_asks_aws_nothing() -> None:
    """Zones are named by their place in the region's list, so that there is nothing to look up at synth."""
    app = cdk.App()
    stack = cdk.Stack(app, "S", env=cdk.Environment(account="111111111111", region="eu-west-1"))
    BusinessUnit(stack, "Unit", name="demand")
    assembly = Path(app.synth().directory)

    # https://docs.aws.amazon.com/cdk/api/v2/docs/cloud-assembly-schema-readme.html: what the CLI has to look up
    assert "missing" not in json.loads((assembly / "manifest.json").read_text())
    zones = [
        resource["Properties"]["AvailabilityZone"]
        for resource in json.loads((assembly / "S.template.json").read_text())["Resources"].values()
        if resource["Type"] == "AWS::EC2::Subnet"
    ]
    assert zones == [{"Fn::Select": [zone, {"Fn::GetAZs": ""}]} for zone in (0, 1)]


def test_named_zones_are_those_of_the_subnets() -> None:
    """By name, and only of the stack's own region where that is known."""
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="123456789012", region="us-east-1"))
    BusinessUnit(stack, "Unit", name="demand", network=Network.create(availability_zones=["us-east-1b", "us-east-1d"]))
    subnets = Template.from_stack(stack).find_resources("AWS::EC2::Subnet").values()
    assert [subnet["Properties"]["AvailabilityZone"] for subnet in subnets] == ["us-east-1b", "us-east-1d"]

    other = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="123456789012", region="us-west-2"))
    with pytest.raises(ValidationError, match="zones must be of the stack's Region us-west-2, got us-east-1b"):
        BusinessUnit(other, "Unit", name="demand", network=Network.create(availability_zones=["us-east-1b"]))


@given(prefix=st.integers(min_value=16, max_value=25), zones=st.integers(min_value=1, max_value=6))
def test_blocks_of_zones_lie_apart_in_the_network(prefix: int, zones: int) -> None:
    """Each has room for what AWS demands of a subnet."""
    whole = ipaddress.IPv4Network(("10.0.0.0", prefix))
    blocks = [ipaddress.IPv4Network(block) for block in subnet_blocks(str(whole), zones)]

    assert len(blocks) == zones
    assert all(block.subnet_of(whole) and block.prefixlen <= 28 for block in blocks)
    assert not any(one.overlaps(other) for one in blocks for other in blocks if one is not other)


def test_endpoints_take_this_accounts_principals_from_the_network_only(template: Template) -> None:
    """What leaves through an endpoint is signed by this account."""
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
    """Accepted and refused, to a log group of ours."""
    template.has_resource_properties("AWS::EC2::FlowLog", {"TrafficType": "ALL", "ResourceType": "VPC"})


def test_what_runs_has_no_ingress_and_speaks_tls_only(template: Template) -> None:
    """Egress is port 443."""
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
    """An unlisted region is shown at us-east-1's price."""
    assert monthly_price(endpoints=7, zones=2, region=region) == pytest.approx(price)


def test_the_price_is_printed() -> None:
    """Whoever makes a network sees what it costs, and what would cost less."""
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="111111111111", region="eu-west-1"))

    BusinessUnit(stack, "Unit", name="demand", profile=Profile.DEVELOPMENT)

    text = Match.string_like_regexp(
        r"costs about 56\.21 USD a month: 7 interface endpoints in 1 zone at .* of eu-west-1"
    )
    Annotations.from_stack(stack).has_info("/S/Unit/Network", text)


def test_further_services_are_reached_once_and_priced() -> None:
    """What is reached already gets no second endpoint; the price of what is added is printed."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand", network=Network.create(endpoints=["sts"]))
    for _ in range(2):
        unit.reach(["sts", "eks", "elasticloadbalancing"])

    template = Template.from_stack(stack)
    template.resource_count_is("AWS::EC2::VPCEndpoint", 2 + 3)
    template.resource_count_is("AWS::EC2::SecurityGroup", 2)
    said = r"eks, elasticloadbalancing for unit 'demand' cost another about 29\.20 USD a month: 2 interface endpoints in 2 zones"
    Annotations.from_stack(stack).has_info("*", Match.string_like_regexp(said))


def test_whatever_runs_waits_for_endpoints_that_are_added_later() -> None:
    """The unit's group, which all that runs names, depends on each endpoint and route, and none of them on it."""
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
    """CloudFormation's bucket for the answers of custom resources is one; a policy on this account's principals would lose them."""
    gateways = template.find_resources("AWS::EC2::VPCEndpoint", {"Properties": {"VpcEndpointType": "Gateway"}})

    assert len(gateways) == 2
    assert all("PolicyDocument" not in gateway["Properties"] for gateway in gateways.values())


def test_another_network_is_there_already() -> None:
    """Nothing is waited for in a network of somebody else."""
    stack = cdk.Stack(cdk.App(), "S")
    network = Network.from_shared_vpc(vpc_id="vpc-12345678", availability_zones=["a"], subnet_ids=["subnet-12345678"])
    BusinessUnit(stack, "Unit", name="demand", network=network)

    (group,) = Template.from_stack(stack).find_resources("AWS::EC2::SecurityGroup").values()
    assert "DependsOn" not in group


def test_a_given_network_reaches_services_by_itself() -> None:
    """Nothing is added to a network of somebody else."""
    stack = cdk.Stack(cdk.App(), "S")
    network = Network.from_shared_vpc(vpc_id="vpc-12345678", availability_zones=["a"], subnet_ids=["subnet-12345678"])
    BusinessUnit(stack, "Unit", name="demand", network=network).reach(["eks"])

    Template.from_stack(stack).resource_count_is("AWS::EC2::VPCEndpoint", 0)


def test_a_made_network_has_defaults() -> None:
    """Addresses and endpoints are named, zones come from the profile."""
    network = Network.create()

    assert (network.cidr, network.endpoints, network.zones, network.vpc) == (
        "10.0.0.0/16",
        INTERFACE_ENDPOINTS,
        None,
        None,
    )


def test_no_endpoints_is_a_choice() -> None:
    """An empty list is not the default."""
    assert Network.create(endpoints=[]).endpoints == ()


@pytest.mark.parametrize("cidr", ["10.0.0.1/16", "10.0.0.0/15", "10.0.0.0/26", "everything", "::/56"])
def test_fails_on_addresses_that_no_network_has(cidr: str) -> None:
    """Both problems are told at once, with what is allowed."""
    with pytest.raises(ValidationError) as error:
        Network.create(cidr=cidr, availability_zones=7)

    assert f"/16 to /25 whose host bits are 0, such as '10.20.0.0/16', got {cidr!r}" in str(error.value)
    assert "zones must be from 1 to 6, got 7" in str(error.value)


def test_a_given_network_keeps_what_was_given() -> None:
    """Nothing is copied or replaced."""
    vpc = ec2.Vpc(cdk.Stack(cdk.App(), "S"), "Vpc")
    subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)

    network = Network.from_vpc(vpc=vpc, subnets=subnets)

    assert network.vpc is vpc
    assert network.subnets is subnets


def test_a_shared_network_is_ids() -> None:
    """It belongs to another account."""
    network = Network.from_shared_vpc(vpc_id="vpc-1", availability_zones=["a"], subnet_ids=["subnet-1"])

    assert (network.shared_vpc_id, network.shared_zones, network.shared_subnet_ids) == ("vpc-1", ("a",), ("subnet-1",))


def test_zones_can_be_named() -> None:
    """In their order; one string is one zone."""
    network = Network.create(availability_zones=["us-east-1b", "us-east-1c"])

    assert (network.zones, network.zone_names) == (2, ("us-east-1b", "us-east-1c"))
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
    """What is allowed is named."""
    with pytest.raises(ValidationError) as error:
        Network.create(availability_zones=zones)

    assert problem in str(error.value)
