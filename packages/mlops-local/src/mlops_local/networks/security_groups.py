"""Security group rules: rules that are template resources of their own, and evaluation of the traffic that rules allow.

MiniStack stores rules inside an ``AWS::EC2::SecurityGroup``. CDK writes a rule that refers to its own group as
``AWS::EC2::SecurityGroupIngress`` and ``AWS::EC2::SecurityGroupEgress``.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ministack.services import ec2
from ministack.services.cloudformation import provisioners

Properties = dict[str, Any]
ANYWHERE = ("0.0.0.0/0", "::/0")
_SIDES = {"AWS::EC2::SecurityGroupIngress": "IpPermissions", "AWS::EC2::SecurityGroupEgress": "IpPermissionsEgress"}
# protocol, first and last port that a single rule must cover: https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html
_ENCRYPTED = {"UDP 500": ("udp", 500, 500), "protocol 50 (ESP)": ("50", 0, 0)}
# frameworks choose ports freely: https://docs.aws.amazon.com/sagemaker/latest/dg/train-vpc.html#train-vpc-groups
_PLAIN = {"all TCP ports": ("tcp", 1, 65535)}


def install() -> None:
    """Apply the rules of both resource types to their security groups."""
    for resource_type, side in _SIDES.items():
        handler = provisioners._RESOURCE_HANDLERS[resource_type]
        provisioners._RESOURCE_HANDLERS[resource_type] = {**handler, **_with_effect(handler, side)}


def _with_effect(handler: Mapping[str, Any], side: str) -> dict[str, Callable[..., Any]]:
    create, update, delete = handler["create"], handler["update"], handler["delete"]

    def created(logical_id: str, properties: Properties, stack: str) -> Any:
        made = create(logical_id, properties, stack)
        _rules(properties, side).extend(_permissions(properties))
        return made

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any) -> Any:
        made = update(physical_id, old, new, *rest)
        if made[0] == physical_id:  # else the stack deletes the replaced one later
            _forget(old, side)
        _rules(new, side).extend(_permissions(new))
        return made

    def deleted(physical_id: str, properties: Properties) -> Any:
        _forget(properties, side)
        return delete(physical_id, properties)

    return {"create": created, "update": updated, "delete": deleted}


def matches(rules: Iterable[Mapping[str, Any]], blocks: Sequence[str], groups: Sequence[str], *, port: int) -> bool:
    """Return whether rules allow a TCP port for one of the groups, a prefix list, or all CIDR blocks."""
    for rule in rules:
        if not _has_port(rule, port):
            continue
        if any(pair.get("GroupId") in groups for pair in rule.get("UserIdGroupPairs", ())):
            return True
        ranges = [ipaddress.ip_network(one["CidrIp"], strict=False) for one in rule.get("IpRanges", ())]
        wanted = [ipaddress.ip_network(block) for block in blocks if ":" not in block]
        if blocks and all(any(_within(block, one) for one in ranges) for block in wanted):
            return True
        if rule.get("PrefixListIds") and tuple(blocks) == ANYWHERE:
            return True
    return False


def link_problem(
    *, subnets: Sequence[str], groups: Sequence[str], to_subnets: Sequence[str], to_groups: Sequence[str], port: int
) -> str | None:
    """Return which of two ends in one VPC blocks the traffic between them, or ``None``.

    Args:
        subnets: Subnets of the caller.
        groups: Security groups of the caller; empty means the default group of its VPC.
        to_subnets: Subnets of the destination.
        to_groups: Security groups of the destination.
        port: TCP port of the destination.
    """
    # claim: vpc-links-need-rules-to-load-balancers
    own, other = _groups_of(groups, subnets), _groups_of(to_groups, to_subnets)
    if own is None or other is None:
        return None  # claim: foreign-networks-reach-everything
    names, called = ([group["GroupId"] for group in each] for each in (own, other))
    leaving = [rule for group in own for rule in group.get("IpPermissionsEgress", ())]
    if not matches(leaving, _blocks(to_subnets), called, port=port):
        return f"{', '.join(names)} allow no egress to port {port} of {', '.join(called)}"
    arriving = [rule for group in other for rule in group.get("IpPermissions", ())]
    # MiniStack omits the rule by which a default group allows traffic from itself
    is_default = any(group["GroupName"] == "default" and group["GroupId"] in names for group in other)
    if not is_default and not matches(arriving, _blocks(subnets), names, port=port):
        return f"{', '.join(called)} allow no ingress from {', '.join(names)} to port {port}"
    return None


def _groups_of(names: Sequence[str], subnets: Sequence[str]) -> list[Mapping[str, Any]] | None:
    """Return the records of groups, by default the VPC's default group; ``None`` for a foreign network."""
    if names:
        found = [ec2._security_groups.get(name) for name in names]
        return None if None in found else found
    networks = {(ec2._subnets.get(subnet) or {}).get("VpcId") for subnet in subnets}
    groups = [
        group
        for group in ec2._security_groups.values()
        if group["GroupName"] == "default" and group["VpcId"] in networks
    ]
    return groups or None


def _blocks(subnets: Sequence[str]) -> list[str]:
    return [str(found["CidrBlock"]) for subnet in subnets if (found := ec2._subnets.get(subnet))]


def _has_port(rule: Mapping[str, Any], port: int) -> bool:
    if str(rule.get("IpProtocol")) == "-1":
        return True
    ports = range(int(rule.get("FromPort", 0)), int(rule.get("ToPort", 65535)) + 1)
    return str(rule.get("IpProtocol")) in ("tcp", "6") and port in ports


def _within(block: Any, other: Any) -> bool:
    return bool(block.version == other.version and block.subnet_of(other))


def cluster_problem(group_ids: Iterable[str], *, encrypted: bool) -> str | None:
    """Return why these groups keep instances of one job from reaching each other, or ``None``.

    Args:
        group_ids: Security groups of each instance; an unknown group is not evaluated.
        encrypted: Whether traffic between them is encrypted.
    """
    # claim: instances-of-one-job-need-rules-to-each-other
    groups = [group for group in (ec2._security_groups.get(name) for name in group_ids) if group is not None]
    if not groups:
        return None
    wanted = _ENCRYPTED if encrypted else _PLAIN
    missing = [
        f"{side} {name}"
        for side, key in (("inbound", "IpPermissions"), ("outbound", "IpPermissionsEgress"))
        for name, (protocol, first, last) in wanted.items()
        if not any(_admits_itself(group, key, protocol, first, last) for group in groups)
    ]
    if not missing:
        return None
    names = ", ".join(group["GroupId"] for group in groups)
    return (
        f"instances of one job cannot reach each other by security group {names}: it has no rule to itself for "
        f"{', '.join(missing)}; the job would wait until its time limit "
        "(https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html)"
    )


def _admits_itself(group: Mapping[str, Any], side: str, protocol: str, first: int, last: int) -> bool:
    for rule in group.get(side, []):
        named = {pair.get("GroupId") for pair in rule.get("UserIdGroupPairs", [])}
        everyone = any(row.get("CidrIp") == "0.0.0.0/0" for row in rule.get("IpRanges", []))
        if group["GroupId"] not in named and not everyone:
            continue
        given = str(rule.get("IpProtocol"))
        if given == "-1" or (
            given == protocol and rule.get("FromPort", first) <= first and last <= rule.get("ToPort", last)
        ):
            return True
    return False


def _permissions(properties: Properties) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = provisioners._ec2_sg_permissions([properties])
    return found


def _rules(properties: Properties, side: str) -> list[dict[str, Any]]:
    group = ec2._security_groups.get(properties.get("GroupId"))
    rules: list[dict[str, Any]] = [] if group is None else group.setdefault(side, [])
    return rules


def _forget(properties: Properties, side: str) -> None:
    rules = _rules(properties, side)
    for rule in _known(rules, _permissions(properties)):
        rules.remove(rule)


def _known(rules: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from [rule for rule in wanted if rule in rules]
