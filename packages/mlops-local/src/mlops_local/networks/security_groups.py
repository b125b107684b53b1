"""Rules of security groups: those that a template makes as resources of their own, and what instances of one job need of them.

MiniStack keeps the rules inside an ``AWS::EC2::SecurityGroup``. CDK writes a rule that names its own group as
``AWS::EC2::SecurityGroupIngress`` and ``AWS::EC2::SecurityGroupEgress``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ministack.services import ec2
from ministack.services.cloudformation import provisioners

from mlops_local import compat

compat.expect("ministack.services.ec2", _security_groups=object)
compat.expect("ministack.services.cloudformation.provisioners", _RESOURCE_HANDLERS=dict, _ec2_sg_permissions="(rules)")

Properties = dict[str, Any]
_SIDES = {"AWS::EC2::SecurityGroupIngress": "IpPermissions", "AWS::EC2::SecurityGroupEgress": "IpPermissionsEgress"}
# protocol, and the first and last port that one rule must have: https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html
_ENCRYPTED = {"UDP 500": ("udp", 500, 500), "protocol 50 (ESP)": ("50", 0, 0)}
# frameworks take ports as they like: https://docs.aws.amazon.com/sagemaker/latest/dg/train-vpc.html#train-vpc-groups
_PLAIN = {"all TCP ports": ("tcp", 1, 65535)}


def install() -> None:
    """Give the two types an effect besides their record."""
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


def cluster_problem(group_ids: Iterable[str], *, encrypted: bool) -> str | None:
    """Return why instances of one job would not reach each other by these groups, if they would not.

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
        f"{', '.join(missing)}; the job would wait until its time is up "
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
