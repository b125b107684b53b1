"""A unit's network: created, or an existing VPC of the account or the platform team."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam

from constructs import Construct, DependencyGroup, IConstruct
from mlops_constructs._arguments import checked
from mlops_constructs._roles import allow, service_role
from mlops_constructs._stack_values import stack_values
from mlops_constructs._unit_resources import define_log_group
from mlops_constructs._validation import (
    ValidationError,
    check_pattern,
    check_range,
    is_known,
    raise_if_any,
    raise_problems,
)
from mlops_constructs._warnings import counted
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.platform_rules import PlatformRules
from mlops_runtime.price import HOURS, price_table, priced_regions

# Services that the code of functions and jobs calls; KMS is for signing by recorders. Logs, traces, images, queues and data keys
# are accessed by AWS services themselves; S3 and DynamoDB have gateway endpoints, which are free.
INTERFACE_ENDPOINTS = ("events", "glue", "kms", "monitoring", "sagemaker.api", "sagemaker.runtime", "states")

# a subnet has at least 16 addresses (/28), and six zones need eight subnets of equal size
_LARGEST, _SMALLEST = 16, 25
# zone names of a Region; Local Zones and Wavelength Zones are named differently and lack SageMaker
_ZONE = r"[a-z]{2}(-[a-z]+)+-\d[a-z]"

_DEFAULT_REGION = "us-east-1"
DEFAULT_CIDR = "10.0.0.0/16"
_DEFAULT_GROUP = (
    "nothing uses the default group, as every interface names its own group; "
    "rejected: closing it at deployment, which takes a hidden function with rights on every security group"
)


@checked("InvalidNetwork")
@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Network of a unit: created, existing or shared. Use one of the three factories.

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
        """Create a network without internet access; its monthly price is printed at synthesis.

        Args:
            cidr: IPv4 CIDR block. Default: 10.0.0.0/16.
            availability_zones: Names, such as ``["us-east-1b", "us-east-1c"]``, or a number. With a number, the first zones that
                the account's Region lists are used. If one of them lacks a service or its endpoint, the first deployment fails:
                ``aws ec2 describe-vpc-endpoint-services`` lists the zones of each service. Default: the profile's number of zones.
            endpoints: Short names of the services with interface endpoints, which incur the network's cost.
                Default: those that functions and jobs call.

        Raises:
            ValidationError: If the CIDR block or the zones are not allowed.
        """
        if cdk.Token.is_unresolved(
            list(availability_zones) if isinstance(availability_zones, tuple) else availability_zones
        ):
            raise ValidationError("InvalidNetwork", ["availability_zones must be known at synthesis; pass a number"])
        names = () if availability_zones is None or isinstance(availability_zones, int) else tuple(availability_zones)
        count = availability_zones if availability_zones is None or isinstance(availability_zones, int) else len(names)
        problems = [
            _cidr_problem(cidr),
            check_range("availability_zones", count, minimum=1, maximum=6),
            *_zone_problems(names),
        ]
        raise_problems("InvalidNetwork", problems)
        return cls(cidr=cidr, zones=count, zone_names=names, endpoints=tuple(endpoints))

    @classmethod
    def from_vpc(
        cls, *, vpc: ec2.IVpc, subnets: ec2.SubnetSelection, security_group: ec2.ISecurityGroup | None = None
    ) -> "Network":
        """Use a VPC of the account; it must reach the services in ``INTERFACE_ENDPOINTS``, S3 and DynamoDB.

        Args:
            vpc: VPC whose private subnets are used.
            subnets: Private subnets of the VPC.
            security_group: Security group of functions, jobs and endpoints. Default: one is defined, without ingress.
        """
        return cls(vpc=vpc, subnets=subnets, security_group=security_group)

    @classmethod
    def from_shared_vpc(cls, *, vpc_id: str, availability_zones: Sequence[str], subnet_ids: Sequence[str]) -> "Network":
        """Use a VPC that the platform team shares with this account through AWS Resource Access Manager.

        Args:
            vpc_id: ``vpc-`` and its hexadecimal id.
            availability_zones: Availability Zones of the subnets, in their order.
            subnet_ids: Ids of the shared private subnets.
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
        f"availability_zones must be of one Region, got {' and '.join(regions)}" if len(regions) > 1 else None,
    ]


def _cidr_problem(cidr: str) -> str | None:
    """Return the problem of a CIDR block: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html."""
    allowed = "cidr must be an IPv4 block from /16 to /25 whose host bits are 0, such as '10.20.0.0/16'"
    try:
        block = ipaddress.IPv4Network(cidr)
    except ValueError:
        return f"{allowed}, got {cidr!r}"
    return None if _LARGEST <= block.prefixlen <= _SMALLEST else f"{allowed}, got {cidr!r}"


def monthly_price(*, endpoints: int, zones: int, region: str) -> float:
    """Return the monthly price of interface endpoints in USD, without traffic; of us-east-1 if the Region's price is unknown.

    Args:
        endpoints: Number of interface endpoints.
        zones: Number of Availability Zones.
        region: Region, or a token.
    """
    table = price_table(region if region in priced_regions() else _DEFAULT_REGION)
    return round(endpoints * zones * table.usd["interface_endpoint_hour"] * HOURS, 2)


def define_network(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, network: "Network", connectivity: DependencyGroup
) -> ec2.IVpc:
    """Define a VPC with isolated subnets, gateway endpoints, interface endpoints and flow logs.

    Subnets are L1 resources: with a concrete account and Region, ``ec2.Vpc`` would look up zones in AWS, and synthesis is offline.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; provides profile and key.
        network: Configuration of the network.
        connectivity: Receives the VPC endpoints and the route table associations of the subnets.
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
    """Add interface endpoints of further services to a created network, with a notice of their price.

    Args:
        scope: The unit, as for ``define_network``.
        vpc: The created VPC.
        business_unit: The unit; provides the profile.
        network: Configuration of the network.
        services: Short names; services that already have an endpoint are skipped.
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
    return f"zones must be of the stack's Region {region}, got {', '.join(foreign)}" if foreign else None


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
    """Return one CIDR block per zone, as large as possible.

    Example:
        >>> subnet_blocks("10.9.0.0/16", 2)
        ['10.9.0.0/17', '10.9.128.0/17']
    """
    whole = ipaddress.IPv4Network(cidr)
    return [str(block) for block in whole.subnets(prefixlen_diff=(zones - 1).bit_length())][:zones]


def define_security_group(
    scope: Construct, id: str, *, vpc: ec2.IVpc, unit: str, connectivity: DependencyGroup
) -> ec2.SecurityGroup:
    """Define the security group of functions, jobs and endpoints of a unit: no ingress, egress to port 443.

    The group depends on VPC endpoints and routes, so that these exist before any function or job that uses the group, and are
    deleted after the last of them. Otherwise CloudFormation would delete them in parallel with custom resources that need them.

    A created network has routes to its endpoints only, so port 443 reaches just the services with an endpoint. The ids of the
    prefix lists of S3 and DynamoDB differ between Regions and cannot be known at synthesis.

    Args:
        scope: Parent.
        id: Construct id.
        connectivity: VPC endpoints and routes.
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
            allow(["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], log_group.log_group_arn)
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
