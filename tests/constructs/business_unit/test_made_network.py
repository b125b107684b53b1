"""Made networks and what they cost."""

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
from mlops_constructs.business_unit._made_network import monthly_price, subnet_blocks


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
    with pytest.raises(ValidationError, match="zones must be of the stack's region us-west-2, got us-east-1b"):
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
