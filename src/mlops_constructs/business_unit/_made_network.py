"""Define a network without a way to the internet, and the security group of a unit."""

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam

from constructs import Construct, DependencyGroup, IConstruct
from mlops_constructs._iam import service_role
from mlops_constructs._log_group import define_log_group
from mlops_constructs._validation import is_known, raise_if_any
from mlops_constructs._warnings import counted
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.price import HOURS, price_table, priced_regions

if TYPE_CHECKING:
    from mlops_constructs.business_unit.network import Network

_DEFAULT_REGION = "us-east-1"
DEFAULT_CIDR = "10.0.0.0/16"
_DEFAULT_GROUP = (
    "nothing uses the default group, every interface names one of ours; "
    "rejected: closing it at deployment, which takes a hidden function with rights on every security group"
)


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
    _add_interface_endpoints(scope, vpc, cidr=cidr, endpoints=network.endpoints, connectivity=connectivity)
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
    _add_interface_endpoints(scope, vpc, cidr=cidr, endpoints=missing, connectivity=connectivity)
    _print_price(
        vpc,
        f"{', '.join(sorted(missing))} for unit '{business_unit.name}' cost another",
        endpoints=len(missing),
        zones=business_unit.profile.zones if network.zones is None else network.zones,
    )


def _print_price(home: IConstruct, what: str, *, endpoints: int, zones: int, after: str = "") -> None:
    stack = cdk.Stack.of(home)
    region = stack.region if is_known(stack.region) and stack.region in priced_regions() else _DEFAULT_REGION
    price = monthly_price(endpoints=endpoints, zones=zones, region=region)
    cdk.Annotations.of(home).add_info(
        f"{what} about {price:.2f} USD a month: {counted(endpoints, 'interface endpoint')} in {counted(zones, 'zone')} at the list "
        f"price of {region}{after}"
    )


def _region_problem(scope: Construct, zone_names: Sequence[str]) -> str | None:
    region = cdk.Stack.of(scope).region
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

    Whatever runs in the network names this group, and the group depends on endpoints and routes: they are there before any function
    or job, and go after the last of them. Without that, CloudFormation deletes them first, beside custom resources that need them.

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
    scope: Construct, vpc: ec2.IVpc, *, cidr: str, endpoints: Sequence[str], connectivity: DependencyGroup
) -> None:
    if not endpoints:
        return
    group = _endpoint_group(scope, vpc, cidr)
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
                conditions={"StringEquals": {"aws:PrincipalAccount": cdk.Stack.of(scope).account}},
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
