"""Reachability of services from a VPC: through endpoints, routes, security groups and private DNS names only.

Functions with a ``VpcConfig``, jobs and endpoint containers have their own credentials; calls with these are evaluated from each of
their subnets. A call reaches a service through

* an available interface endpoint of the service in the network, with private DNS names, whose security group admits the caller's
  addresses or group on port 443, if the caller's own group allows 443 outbound;
* for S3 and DynamoDB, a gateway endpoint in the subnet's route table (the main one if none is associated);
* a route to the internet through something with a public address: an internet gateway is not enough for a private address. This is
  the only way to another Region, as endpoints only serve their own.

Any other call times out in AWS after minutes; here it fails at once, with the SDK's own error and the missing part. A network that
was not created in this cloud, such as the platform's shared one, is assumed to reach everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from ministack import app
from ministack.core import lambda_runtime
from ministack.core.responses import get_account_id, get_region
from ministack.core.router import extract_access_key_id
from ministack.services import ec2

from mlops_local.iam.owners import Owner, bucket_owner, scope_of
from mlops_local.networks import connect_timeouts
from mlops_local.networks.security_groups import ANYWHERE, matches
from mlops_local.saved_state import kept_stores

Record = Mapping[str, Any]
_HTTPS = 443
# route targets through which a private address reaches the internet; an internet gateway needs a public address
_WAYS_OUT = ("NatGatewayId", "TransitGatewayId", "InstanceId", "NetworkInterfaceId", "VpcPeeringConnectionId",
             "CoreNetworkArn", "VpcEndpointId")  # fmt: skip
# claim: privatelink-service-names
GATEWAYS = ("dynamodb", "s3")

# the embedded cloud's name of a service -> short names, each an endpoint for the whole service; a service that is missing here has
# no endpoint and is reachable through the internet only
_INTERFACES: dict[str, tuple[str, ...]] = {
    name: (name,)
    for name in (
        "acm", "apigateway", "application-autoscaling", "athena", "cloudformation", "codebuild", "dynamodb", "ec2", "ecs", "eks",
        "elasticfilesystem", "elasticloadbalancing", "events", "glue", "iam", "kms", "lambda", "logs", "monitoring", "s3",
        "s3tables", "secretsmanager", "servicequotas", "sns", "sqs", "ssm", "sts", "tagging", "xray",
    )
} | {
    "ecr": ("ecr.api",), "firehose": ("kinesis-firehose",), "kinesis": ("kinesis-streams",), "sagemaker": ("sagemaker.api",),
    "states": ("states", "sync-states"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Member:
    """Something that runs in a VPC."""

    name: str  # description for messages: `function demand-guard`
    subnets: tuple[str, ...]  # ids of its subnets; it may run in any of them
    groups: tuple[str, ...]  # ids of its security groups
    place: Owner  # account and Region of the VPC

    @classmethod
    def of(cls, name: str, config: Mapping[str, Any] | None) -> Member | None:
        """Read a ``VpcConfig`` of Lambda or SageMaker; ``None`` if it is not in a network of this cloud."""
        subnets = (config or {}).get("Subnets") or (config or {}).get("SubnetIds") or ()
        if not subnets:
            return None
        groups = tuple((config or {}).get("SecurityGroupIds") or ())
        return cls(name, tuple(subnets), groups, Owner(get_account_id(), get_region()))


# access key id -> the member that calls with it
_members: dict[str, Member] = kept_stores.leave(__name__, "_members", {}, why="credentials of this run's processes")


def install() -> None:
    """Check every call before IAM does, and identify functions by their credentials."""
    _wrap_dispatch()
    credentials = lambda_runtime.execution_credentials

    def credentials_of_member(config: dict[str, Any]) -> dict[str, str]:
        made: dict[str, str] = credentials(config)
        member = Member.of(f"function {config.get('FunctionName')}", config.get("VpcConfig"))
        return made | join(made["AWS_ACCESS_KEY_ID"], member)

    lambda_runtime.execution_credentials = credentials_of_member


def join(access_key: str, member: Member | None) -> dict[str, str]:
    """Register the member that uses an access key; ``None`` runs in no network.

    Returns:
        Environment variables with which its SDK raises connect timeouts for unreachable services.
    """
    if member is None:
        _members.pop(access_key, None)
        return {}
    _members[access_key] = member
    return dict(connect_timeouts.ENVIRONMENT)


def problem(member: Member, service: str, *, path: str = "/", target: str = "") -> str | None:
    """Return why a member cannot reach a service in the request's Region, or ``None``."""
    elsewhere = None if get_region() == member.place.region else get_region()
    with scope_of(member.place):
        for subnet_id, subnet in _subnets(member):
            if elsewhere is None:
                found = _from_subnet(member, subnet, service, endpoint_names(service, path, target))
            else:
                found = _to_region(member, subnet, elsewhere)
            if found is not None:
                return f"{member.name} in {subnet_id} of {subnet['VpcId']}: {found}"
    return None


def copy_problem(member: Member, headers: Mapping[str, str]) -> str | None:
    """Return why S3 rejects a member's copy, or ``None``: an endpoint cannot copy from a bucket of another Region."""
    source = unquote(headers.get("x-amz-copy-source", "")).lstrip("/").partition("/")[0]
    found = bucket_owner(source) if source else None
    if found is None or found.region == member.place.region:
        return None
    with scope_of(member.place):
        is_through = any(_is_endpoint(member, subnet) for _, subnet in _subnets(member))
    # claim: endpoints-take-no-copy-from-another-region
    return "VPC endpoints do not support cross-region requests" if is_through else None


def _subnets(member: Member) -> Iterator[tuple[str, Record]]:
    for subnet_id in member.subnets:
        subnet = ec2._subnets.get(subnet_id)
        if subnet is not None:  # claim: foreign-networks-reach-everything
            yield subnet_id, subnet


def _is_endpoint(member: Member, subnet: Record) -> bool:
    """Return whether S3 is reached through an endpoint, whose route is more specific than the internet route."""
    is_gateway = _gateway_problem(member, subnet, "s3", _route_table(subnet)) is None
    return is_gateway or any(_interface_problem(member, subnet, name) is None for name in endpoint_names("s3", "/", ""))


def _to_region(member: Member, subnet: Record, region: str) -> str | None:
    """Return why a member cannot reach another Region, whose services have public addresses from here."""
    # claim: endpoints-are-of-their-region
    table = _route_table(subnet)
    if not any(_leads_out(route) for route in (() if table is None else table.get("Routes", ()))):
        return f"no VPC endpoint leads to {region}, another Region, and no route to the internet"
    return None if _lets_out(member, ANYWHERE, ()) else "its security groups allow no egress on port 443"


def answers(member: Member) -> str | None:
    """Return why a member cannot respond to CloudFormation, whose response bucket is in S3, or ``None``."""
    # claim: custom-resources-answer-through-s3
    return problem(member, "s3")


def member_of(config: Mapping[str, Any]) -> Member | None:
    """Return a function as a member of its VPC, from its configuration."""
    return Member.of(f"function {config.get('FunctionName')}", config.get("VpcConfig"))


def _from_subnet(member: Member, subnet: Record, service: str, names: Sequence[str]) -> str | None:
    table = _route_table(subnet)
    routes: Iterable[Record] = () if table is None else table.get("Routes", ())
    if any(_leads_out(route) for route in routes):
        return None if _lets_out(member, ANYWHERE, ()) else "its security groups allow no egress on port 443"
    problems = []
    if service in GATEWAYS:
        found = _gateway_problem(member, subnet, service, table)
        if found is None:
            return None
        problems.append(found)
    for name in names:
        found = _interface_problem(member, subnet, name)
        if found is None:
            return None
        problems.append(found)
    return "; ".join(problems) or f"no VPC endpoint leads to {service}, and no route to the internet"


def _route_table(subnet: Record) -> dict[str, Any] | None:
    """Return the route table of a subnet, else the main one of its VPC."""
    # claim: subnets-use-the-main-route-table
    main: dict[str, Any] | None = None
    for table in ec2._route_tables.values():
        for association in table.get("Associations", ()):
            if association.get("SubnetId") == subnet["SubnetId"]:
                return dict(table)
            if association.get("Main") and table.get("VpcId") == subnet["VpcId"]:
                main = table
    return main


def _leads_out(route: Record) -> bool:
    # claim: functions-have-no-public-address
    return (
        route.get("DestinationCidrBlock") == ANYWHERE[0]
        and route.get("State", "active") == "active"
        and any(route.get(target) for target in _WAYS_OUT)
    )


def _endpoints(subnet: Record, name: str, kind: str) -> list[dict[str, Any]]:
    service = f"com.amazonaws.{get_region()}.{name}"
    return [
        endpoint
        for endpoint in ec2._vpc_endpoints.values()
        if endpoint["VpcId"] == subnet["VpcId"]
        and endpoint["ServiceName"] in (service, f"com.amazonaws.{name}")
        and endpoint["VpcEndpointType"] == kind
        and endpoint["State"] == "available"
    ]


def _gateway_problem(member: Member, subnet: Record, service: str, table: Record | None) -> str | None:
    # claim: gateway-endpoints-need-their-route-table
    found = _endpoints(subnet, service, "Gateway")
    if not found:
        return f"no gateway endpoint of {service}"
    name = None if table is None else table["RouteTableId"]
    if not any(name in endpoint.get("RouteTableIds", ()) for endpoint in found):
        return f"route table {name} of the subnet has no route to the gateway endpoint of {service}"
    if not _lets_out(member, ANYWHERE, ()):
        return "its security groups allow no egress on port 443"
    return None


def _interface_problem(member: Member, subnet: Record, name: str) -> str | None:
    # claim: interface-endpoints-need-names-and-rules
    found = _endpoints(subnet, name, "Interface")
    if not found:
        return f"no interface endpoint of {name}"
    vpc = ec2._vpcs.get(subnet["VpcId"]) or {}
    if not (vpc.get("EnableDnsSupport", True) and vpc.get("EnableDnsHostnames", False)):
        return f"the endpoint of {name} has no private DNS name: the network needs DNS support and DNS host names"
    named = [endpoint for endpoint in found if str(endpoint.get("PrivateDnsEnabled")).lower() == "true"]
    if not named:
        return f"the endpoint of {name} has no private DNS name: set PrivateDnsEnabled"
    for endpoint in named:
        if not _admits(endpoint, member, subnet):
            return f"the security groups of the endpoint of {name} do not allow port 443 from {subnet['CidrBlock']}"
        blocks = [ec2._subnets[one]["CidrBlock"] for one in endpoint.get("SubnetIds", ()) if ec2._subnets.get(one)]
        if not _lets_out(member, blocks, endpoint.get("SecurityGroupIds", ())):
            return f"its security groups allow no egress on port 443 to the endpoint of {name}"
    return None


def _admits(endpoint: Record, member: Member, subnet: Record) -> bool:
    groups = [ec2._security_groups.get(group) for group in endpoint.get("SecurityGroupIds", ())]
    rules = [rule for group in groups if group for rule in group.get("IpPermissions", ())]
    return matches(rules, [subnet["CidrBlock"]], member.groups, port=_HTTPS)


def _lets_out(member: Member, blocks: Sequence[str], groups: Sequence[str]) -> bool:
    known = [found for group in member.groups if (found := ec2._security_groups.get(group))]
    if len(known) < len(member.groups) or not known:
        return True  # claim: foreign-networks-reach-everything
    rules = [rule for group in known for rule in group.get("IpPermissionsEgress", ())]
    return matches(rules, blocks, groups, port=_HTTPS)


def _wrap_dispatch() -> None:
    dispatch = app._dispatch_service_request

    async def through_network(  # noqa: PLR0917 - MiniStack's own signature
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any], request_id: str
    ) -> Any:
        member = _members.get(extract_access_key_id(headers, query) or "")
        if member is None:
            return await dispatch(method, path, headers, body, query, request_id)
        routing = app._routing_params(method, path, headers, body, query)
        service = app.detect_service(method, path, headers, routing)
        found = problem(member, service, path=path, target=headers.get("x-amz-target", ""))
        if found is not None:
            return _timeout(service, headers, found, request_id)
        refused = copy_problem(member, headers) if service == "s3" else None
        if refused is not None:
            content = f"<Error><Code>AccessDenied</Code><Message>{refused}</Message></Error>"
            return 403, {"content-type": "application/xml"}, content.encode()
        return await dispatch(method, path, headers, body, query, request_id)

    app._dispatch_service_request = through_network


def _timeout(
    service: str, headers: Mapping[str, str], found: str, request_id: str
) -> tuple[int, dict[str, str], bytes]:
    """Return a response that the caller's SDK reads as a non-retried error, in the protocol of the request."""
    message = f"https://{service}.{get_region()}.amazonaws.com/ {found}"
    kind = headers.get("content-type", "")
    if service == "s3" or kind.startswith("application/x-www-form-urlencoded"):
        inner = f"<Code>{connect_timeouts.CODE}</Code><Message>{escape(message)}</Message>"
        error = f"<Error>{inner}</Error>"
        content = (
            error if service == "s3" else f"<ErrorResponse>{error}<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return 400, {"content-type": "application/xml"}, content.encode()
    content = json.dumps({"__type": connect_timeouts.CODE, "message": message})
    return 400, {"content-type": "application/json", "x-amzn-errortype": connect_timeouts.CODE}, content.encode()


def endpoint_names(service: str, path: str, target: str) -> tuple[str, ...]:
    """Return the short names of the interface endpoints for an operation; empty without an endpoint.

    Args:
        service: The embedded cloud's name of the service, ``sagemaker``.
        path: Path of the request.
        target: Its ``X-Amz-Target`` header, empty if missing.

    Example:
        >>> endpoint_names("sagemaker", "/endpoints/first/invocations", "")
        ('sagemaker.runtime',)
        >>> endpoint_names("sagemaker", "/", "SageMaker.DescribeEndpoint")
        ('sagemaker.api',)
        >>> endpoint_names("states", "/", "AWSStepFunctions.StartExecution")
        ('states',)
    """
    if service == "sagemaker" and not target:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/interface-vpc-endpoint.html
        return ("sagemaker.runtime",) if path.startswith("/endpoints/") else ("sagemaker.metrics",)
    found = _INTERFACES.get(service, ())
    if service == "states":
        return found[1:] if target.endswith(".StartSyncExecution") else found[:1]
    return found
