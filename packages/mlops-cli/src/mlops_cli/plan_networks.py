"""Whether the networks that units do not make reach KMS: what `mlops plan` reads of endpoints and routes before a deployment.

Recorders sign in their unit's network. One that does not reach KMS fails every rollout at its record, and the call only times out.

See: https://docs.aws.amazon.com/kms/latest/developerguide/kms-vpc-endpoint.html
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops_cli.plan_keys import place_of, resolved

if TYPE_CHECKING:
    from mlops_cli.account import Account

# targets of a route that carry a private address to the internet; an internet gateway needs a public one
_WAYS_OUT = ("NatGatewayId", "TransitGatewayId", "InstanceId", "NetworkInterfaceId", "VpcPeeringConnectionId", "CoreNetworkArn",
             "GatewayId")  # fmt: skip


def read_networks(aws: "Account", templates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return which networks do not reach KMS, each with the fix, and those of which it cannot be seen.

    Args:
        aws: The account that the stacks are for.
        templates: The new template of each stack by the stack's name.
    """
    wanted = {(stack, subnets) for stack, template in templates.items() for subnets in _given(template)}
    if not wanted:
        return []
    from botocore.exceptions import ClientError

    place, ec2, notes = place_of(aws), aws.client("ec2"), []
    for stack, text in sorted(wanted):
        try:
            subnets = [resolved(aws, subnet, templates[stack], place) for subnet in json.loads(text)]
            problem = _problem(ec2, subnets, region=place.region, account=place.account)
        except (ClientError, LookupError, ValueError) as error:
            problem = f"whether it reaches KMS, where records are signed, is not known: {error}"
        if problem is not None:
            notes.append(f"network of stack {stack}: {problem}")
    return notes


def _given(template: Mapping[str, Any]) -> Iterator[str]:
    """Yield the subnets of functions that sign, as JSON, where the template does not make them."""
    resources = template.get("Resources", {})
    for resource in resources.values():
        properties = resource.get("Properties", {})
        variables = properties.get("Environment", {}).get("Variables", {})
        subnets = properties.get("VpcConfig", {}).get("SubnetIds", [])
        if (
            resource["Type"] != "AWS::Lambda::Function"
            or "SIGNING_KEY" not in variables
            or not isinstance(subnets, list)
        ):
            continue
        made = [isinstance(subnet, Mapping) and subnet.get("Ref") in resources for subnet in subnets]
        if subnets and not any(made):
            yield json.dumps(subnets, sort_keys=True)


def _problem(ec2: Any, subnets: Sequence[str], *, region: str, account: str) -> str | None:
    rows = ec2.describe_subnets(SubnetIds=list(subnets))["Subnets"]
    if len(rows) != len(set(subnets)):
        raise LookupError(f"of the subnets {', '.join(subnets)} there are {len(rows)}")
    vpc, owner = rows[0]["VpcId"], rows[0].get("OwnerId", account)
    service = f"com.amazonaws.{region}.kms"
    in_vpc = {"Name": "vpc-id", "Values": [vpc]}
    names = (service, f"cn.{service}")
    answer = ec2.describe_vpc_endpoints(Filters=[in_vpc, {"Name": "service-name", "Values": list(names)}])
    endpoints = [row for row in answer["VpcEndpoints"] if row["VpcId"] == vpc and row["ServiceName"] in names]
    if any(row["State"].lower() == "available" and row.get("PrivateDnsEnabled", True) for row in endpoints):
        return None
    tables = [row for row in ec2.describe_route_tables(Filters=[in_vpc])["RouteTables"] if row["VpcId"] == vpc]
    without = [subnet for subnet in subnets if not _leads_out(subnet, tables)]
    if not without:
        return None
    whose = (
        "" if owner == account else f"; it is of account {owner}, whose endpoints may not be seen from here: ask there"
    )
    return (
        f"{vpc} does not reach KMS from {', '.join(without)}, so that no record is signed and every rollout fails at its record; "
        f"add an interface endpoint {service} with private DNS names to it, or a route to the internet by a NAT gateway{whose}"
    )


def _leads_out(subnet: str, tables: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a subnet's route table, or else the main one, leads to the internet from a private address."""
    found = [table for table in tables if any(a.get("SubnetId") == subnet for a in table["Associations"])]
    found = found or [table for table in tables if any(a.get("Main") for a in table["Associations"])]
    return any(
        route.get("DestinationCidrBlock") == "0.0.0.0/0"
        and any(route.get(way) for way in _WAYS_OUT)
        and not str(route.get("GatewayId", "")).startswith("igw-")
        for table in found
        for route in table["Routes"]
    )
