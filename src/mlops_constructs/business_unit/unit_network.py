"""A unit's network: created with endpoints and route associations, or given by a platform team."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam

from constructs import Construct, DependencyGroup, IConstruct
from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._roles import service_role
from mlops_constructs._stack_values import stack_values
from mlops_constructs._unit_resources import define_log_group
from mlops_constructs._validation import check_pattern, check_range, is_known, raise_if_any
from mlops_constructs._warnings import counted
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.platform_rules import PlatformRules
from mlops_runtime.price import HOURS, price_table, priced_regions

# What the code of functions and jobs calls, KMS for what recorders sign; logs, traces, images, queues and keys of data are reached
# by the services themselves, S3 and DynamoDB through gateway endpoints, which are free.
INTERFACE_ENDPOINTS = ("events", "glue", "kms", "monitoring", "sagemaker.api", "sagemaker.runtime", "states")

# a subnet has at least 16 addresses (/28), and six zones need eight of them
_LARGEST, _SMALLEST = 16, 25
# Local Zones and Wavelength Zones have other names, and no SageMaker
_ZONE = r"[a-z]{2}(-[a-z]+)+-\d[a-z]"

_DEFAULT_REGION = "us-east-1"
DEFAULT_CIDR = "10.0.0.0/16"
_DEFAULT_GROUP = (
    "nothing uses the default group, every interface names one of ours; "
    "rejected: closing it at deployment, which takes a hidden function with rights on every security group"
)


@checked("InvalidNetwork")
@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network: made, given or shared. Use one of the three factories.

    Example:
        >>> Network.create(cidr="10.20.0.0/16").cidr
        '10.20.0.0/16'
    """

    cidr: str | None = None
    endpoints: tuple[str, ...] = INTERFACE_ENDPOINTS
    zones: int | None = None
    zone_names: tuple[str, ...] = ()
    vpc: ec2.IVpc | None = None
    subnets: ec2.SubnetSelection | None = None
    security_group: ec2.ISecurityGroup | None = None
    shared_vpc_id: str | None = None
    shared_zones: tuple[str, ...] = ()
    shared_subnet_ids: tuple[str, ...] = field(default=())

    @classmethod
    def create(
        cls,
        *,
        cidr: str = "10.0.0.0/16",
        availability_zones: int | Sequence[str] | None = None,
        endpoints: Sequence[str] = INTERFACE_ENDPOINTS,
    ) -> "Network":
        """Make a network without a way to the internet; its monthly price is printed at synth.

        Args:
            cidr: Addresses. Default: 10.0.0.0/16.
            availability_zones: Their names, such as ``["us-east-1b", "us-east-1c"]``, or how many. By number they are the first
                that the account's region lists, and one of those may lack a service or its endpoint, which fails the first
                deployment: ``aws ec2 describe-vpc-endpoint-services`` lists the zones of each service. Default: as many as the
                profile has.
            endpoints: Short names of the services reached by interface endpoints, which are what costs money.
                Default: those that functions and jobs call.

        Raises:
            ValidationError: If addresses or zones are not possible.
        """
        if cdk.Token.is_unresolved(availability_zones):
            raise ValidationError("InvalidNetwork", ["availability_zones must be known at synthesis; give a number"])
        names = () if availability_zones is None or isinstance(availability_zones, int) else tuple(availability_zones)
        count = availability_zones if availability_zones is None or isinstance(availability_zones, int) else len(names)
        problems = [
            _cidr_problem(cidr),
            check_range("availability_zones", count, minimum=1, maximum=6),
            *_zone_problems(names),
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidNetwork", found)
        return cls(cidr=cidr, zones=count, zone_names=names, endpoints=tuple(endpoints))

    @classmethod
    def from_vpc(
        cls, *, vpc: ec2.IVpc, subnets: ec2.SubnetSelection, security_group: ec2.ISecurityGroup | None = None
    ) -> "Network":
        """Use a network of the account, which reaches the services named in ``INTERFACE_ENDPOINTS``, S3 and DynamoDB.

        Args:
            vpc: The network.
            subnets: Its subnets, private.
            security_group: Group of all that runs here. Default: one is defined, without ingress.
        """
        return cls(vpc=vpc, subnets=subnets, security_group=security_group)

    @classmethod
    def from_shared_vpc(cls, *, vpc_id: str, availability_zones: Sequence[str], subnet_ids: Sequence[str]) -> "Network":
        """Use the network that the platform team shares with this account by Resource Access Manager.

        Args:
            vpc_id: Id of the network.
            availability_zones: Zones of the subnets, in their order.
            subnet_ids: Ids of the shared subnets, private.
        """
        return cls(shared_vpc_id=vpc_id, shared_zones=tuple(availability_zones), shared_subnet_ids=tuple(subnet_ids))


def _zone_problems(names: Sequence[str]) -> list[str | None]:
    known = [name for name in names if is_known(name)]
    twice = sorted({name for name in known if known.count(name) > 1})
    regions = sorted({name[:-1] for name in known if re.fullmatch(_ZONE, name)})
    return [
        *(
            check_pattern("availability_zones", name, pattern=_ZONE, allowed="names such as 'us-east-1b', or a number")
            for name in known
        ),
        f"availability_zones must differ, got {', '.join(twice)} twice" if twice else None,
        f"availability_zones must be of one region, got {' and '.join(regions)}" if len(regions) > 1 else None,
    ]


def _cidr_problem(cidr: str) -> str | None:
    """Return why a network cannot have these addresses: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html."""
    allowed = "cidr must be an IPv4 block from /16 to /25 whose host bits are 0, such as '10.20.0.0/16'"
    try:
        block = ipaddress.IPv4Network(cidr)
    except ValueError:
        return f"{allowed}, got {cidr!r}"
    return None if _LARGEST <= block.prefixlen <= _SMALLEST else f"{allowed}, got {cidr!r}"


def monthly_price(*, endpoints: int, zones: int, region: str) -> float:
    """Return USD a month for interface endpoints, without traffic; at us-east-1's price where the region's is not known.

    Args:
        endpoints: Number of interface endpoints.
        zones: Number of zones.
        region: Region, or a token.
    """
    table = price_table(region if region in priced_regions() else _DEFAULT_REGION)
    return round(endpoints * zones * table.usd["interface_endpoint_hour"] * HOURS, 2)


def define_network(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, network: "Network", connectivity: DependencyGroup
) -> ec2.IVpc:
    """Define a network with isolated subnets, gateway endpoints, interface endpoints and flow logs.

    Subnets are plain resources: ``ec2.Vpc`` asks AWS for the zones of a concrete account and region, and synthesis is offline.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; gives profile and key.
        network: What was asked for.
        connectivity: Gets what leads to the services: endpoints, and the routes of the subnets.
    """
    home = Construct(scope, id)
    zones = business_unit.profile.zones if network.zones is None else network.zones
    cidr = DEFAULT_CIDR if network.cidr is None else network.cidr
    raise_if_any(scope, "InvalidNetwork", [_region_problem(scope, network.zone_names)])
    vpc = _define_vpc(home, cidr=cidr, zones=zones, zone_names=network.zone_names, connectivity=connectivity)
    acknowledge_family(home, "VPCDefaultSecurityGroupClosed", _DEFAULT_GROUP)
    connectivity.add(
        vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3),
        vpc.add_gateway_endpoint("DynamoDb", service=ec2.GatewayVpcEndpointAwsService.DYNAMODB),
    )
    _add_interface_endpoints(
        scope,
        vpc,
        cidr=cidr,
        endpoints=network.endpoints,
        connectivity=connectivity,
        rules=business_unit.platform_rules,
    )
    _add_flow_logs(scope, vpc, business_unit)
    _print_price(
        home,
        f"the network of unit '{business_unit.name}' costs",
        endpoints=len(network.endpoints),
        zones=zones,
        after="; share one between units with Network.from_vpc or Network.from_shared_vpc",
    )
    return vpc


def add_endpoints(
    scope: Construct,
    vpc: ec2.IVpc,
    *,
    business_unit: IBusinessUnit,
    network: "Network",
    services: Sequence[str],
    connectivity: DependencyGroup,
) -> None:
    """Add interface endpoints of further services to a made network, and say what they cost.

    Args:
        scope: The unit, as for ``define_network``.
        vpc: The made network.
        business_unit: The unit; gives the profile.
        network: What was asked for.
        services: Short names; those that are reached already are left out.
        connectivity: As for ``define_network``.
    """
    missing = [
        name
        for name in services
        if name not in network.endpoints and vpc.node.try_find_child(_endpoint_id(name)) is None
    ]
    if not missing:
        return
    cidr = DEFAULT_CIDR if network.cidr is None else network.cidr
    _add_interface_endpoints(
        scope, vpc, cidr=cidr, endpoints=missing, connectivity=connectivity, rules=business_unit.platform_rules
    )
    _print_price(
        vpc,
        f"{', '.join(sorted(missing))} for unit '{business_unit.name}' cost another",
        endpoints=len(missing),
        zones=business_unit.profile.zones if network.zones is None else network.zones,
    )


def _print_price(home: IConstruct, what: str, *, endpoints: int, zones: int, after: str = "") -> None:
    stack = stack_values(home)
    region = stack.region if is_known(stack.region) and stack.region in priced_regions() else _DEFAULT_REGION
    price = monthly_price(endpoints=endpoints, zones=zones, region=region)
    cdk.Annotations.of(home).add_info(
        f"{what} about {price:.2f} USD a month: {counted(endpoints, 'interface endpoint')} in {counted(zones, 'zone')} at the list "
        f"price of {region}{after}"
    )


def _region_problem(scope: Construct, zone_names: Sequence[str]) -> str | None:
    region = stack_values(scope).region
    foreign = [name for name in zone_names if is_known(name) and is_known(region) and name[:-1] != region]
    return f"zones must be of the stack's region {region}, got {', '.join(foreign)}" if foreign else None


def _define_vpc(
    home: Construct, *, cidr: str, zones: int, zone_names: Sequence[str], connectivity: DependencyGroup
) -> ec2.IVpc:
    vpc = ec2.CfnVPC(home, "Resource", cidr_block=cidr, enable_dns_hostnames=True, enable_dns_support=True)
    cdk.Tags.of(vpc).add("Name", home.node.path)
    names = list(zone_names) or [cdk.Fn.select(zone, cdk.Fn.get_azs()) for zone in range(zones)]
    subnets, tables = [], []
    for zone, block in enumerate(subnet_blocks(cidr, zones)):
        table = ec2.CfnRouteTable(home, f"Routes{zone + 1}", vpc_id=vpc.attr_vpc_id)
        subnet = ec2.CfnSubnet(
            home,
            f"Subnet{zone + 1}",
            vpc_id=vpc.attr_vpc_id,
            availability_zone=names[zone],
            cidr_block=block,
            map_public_ip_on_launch=False,
        )
        cdk.Tags.of(subnet).add("Name", subnet.node.path)
        association = ec2.CfnSubnetRouteTableAssociation(
            home,
            f"SubnetRoutes{zone + 1}",
            subnet_id=subnet.attr_subnet_id,
            route_table_id=table.attr_route_table_id,
        )
        connectivity.add(association)
        subnets.append(subnet.attr_subnet_id)
        tables.append(table.attr_route_table_id)
    return ec2.Vpc.from_vpc_attributes(
        home,
        "Vpc",
        vpc_id=vpc.attr_vpc_id,
        vpc_cidr_block=cidr,
        availability_zones=names,
        isolated_subnet_ids=subnets,
        isolated_subnet_route_table_ids=tables,
    )


def subnet_blocks(cidr: str, zones: int) -> list[str]:
    """Return one block of addresses a zone, as large as they can be.

    Example:
        >>> subnet_blocks("10.9.0.0/16", 2)
        ['10.9.0.0/17', '10.9.128.0/17']
    """
    whole = ipaddress.IPv4Network(cidr)
    return [str(block) for block in whole.subnets(prefixlen_diff=(zones - 1).bit_length())][:zones]


def define_security_group(
    scope: Construct, id: str, *, vpc: ec2.IVpc, unit: str, connectivity: DependencyGroup
) -> ec2.SecurityGroup:
    """Define the security group of all that runs in a unit: no ingress, egress to port 443.

    All functions, jobs and endpoints in the network use this group, and the group depends on endpoints and routes: they are there
    before any function or job, and go after the last of them. Without that, CloudFormation deletes them first, beside custom
    resources that need them.

    Made networks have no route but to their endpoints, so that 443 reaches the services named there and nothing else. The prefix
    lists of S3 and DynamoDB have an id of their own in each region, which cannot be known at synth.

    Args:
        scope: Parent.
        id: Construct id.
        vpc: The network.
        unit: Name of the unit.
        connectivity: What leads to the services.
    """
    group = ec2.SecurityGroup(
        scope, id, vpc=vpc, description=f"Functions, jobs and endpoints of unit {unit}", allow_all_outbound=False
    )
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services, through the network's endpoints")
    group.node.add_dependency(connectivity)
    return group


def _add_interface_endpoints(
    scope: Construct,
    vpc: ec2.IVpc,
    *,
    cidr: str,
    endpoints: Sequence[str],
    connectivity: DependencyGroup,
    rules: PlatformRules | None,
) -> None:
    if not endpoints:
        return
    group = _endpoint_group(scope, vpc, cidr)
    bound = {"aws:PrincipalAccount": stack_values(scope).account}
    if rules is not None and rules.organization_id is not None:
        bound["aws:PrincipalOrgID"] = rules.organization_id
    for name in sorted(endpoints):
        endpoint = vpc.add_interface_endpoint(
            _endpoint_id(name),
            service=ec2.InterfaceVpcEndpointAwsService(name),
            security_groups=[group],
            open=False,
        )
        connectivity.add(endpoint)
        endpoint.add_to_policy(
            iam.PolicyStatement(
                principals=[iam.AnyPrincipal()],
                actions=["*"],
                resources=["*"],
                conditions={"StringEquals": bound},
            )
        )


def _endpoint_group(scope: Construct, vpc: ec2.IVpc, cidr: str) -> ec2.ISecurityGroup:
    known = scope.node.try_find_child("EndpointGroup")
    if isinstance(known, ec2.SecurityGroup):
        return known
    group = ec2.SecurityGroup(
        scope,
        "EndpointGroup",
        vpc=vpc,
        description="Interface endpoints, reached from the network only",
        allow_all_outbound=False,
    )
    group.add_ingress_rule(ec2.Peer.ipv4(cidr), ec2.Port.tcp(443), "Functions, jobs and endpoints")
    return group


def _endpoint_id(service: str) -> str:
    return "".join(part.capitalize() for part in service.split("."))


def _add_flow_logs(scope: Construct, vpc: ec2.IVpc, business_unit: IBusinessUnit) -> None:
    log_group = define_log_group(scope, "FlowLogs", business_unit=business_unit)
    role = service_role(
        scope,
        "FlowLogsRole",
        service="vpc-flow-logs.amazonaws.com",
        business_unit=business_unit,
        description="Writes the network's flow logs",
        statements=[
            iam.PolicyStatement(
                actions=["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                resources=[log_group.log_group_arn],
            )
        ],
    )
    flow_log = ec2.CfnFlowLog(
        scope,
        "FlowLog",
        resource_id=vpc.vpc_id,
        resource_type="VPC",
        traffic_type="ALL",
        log_destination_type="cloud-watch-logs",
        log_destination=log_group.log_group_arn,
        deliver_logs_permission_arn=role.role_arn,
    )
    flow_log.node.add_dependency(role)
