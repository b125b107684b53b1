"""Availability Zones of load balancers, and AWS's checks of their subnets and zones.

A target whose zone is not enabled for its group's load balancers gets no requests and no health checks. A subnet that is not from
this cloud belongs to a shared network of a platform team: AWS would know its zone; here it counts as a separate zone, and a load
balancer in it accepts targets of every zone. Cross-zone balancing is always on for an application load balancer, as in AWS; the
proxy cannot imitate a group that disables it, so that is rejected.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-subnets.html
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ministack.services import alb, ec2

ANY = ""  # zone of a subnet that is not from this cloud
CROSS_ZONE = "load_balancing.cross_zone.enabled"
_ZONES = 2


def of_subnet(subnet: str) -> str:
    """Return the zone of a subnet; ``ANY`` if it is not from this cloud."""
    record: Mapping[str, Any] | None = ec2._subnets.get(subnet)
    return ANY if record is None else str(record["AvailabilityZone"])


def by_group() -> dict[str, frozenset[str]]:
    """Return the enabled zones of each target group in a rule or listener, with any weight.

    ``ANY`` among them enables every zone.
    """
    found: dict[str, set[str]] = {}
    for rule in list(alb._rules.values()):
        enabled = _of_listener(rule.get("ListenerArn", ""))
        for group in _groups(rule.get("Actions", [])):
            found.setdefault(group, set()).update(enabled)
    return {group: frozenset(enabled) for group, enabled in found.items()}


def _of_listener(arn: str) -> set[str]:
    balancer = alb._lbs.get((alb._listeners.get(arn) or {}).get("LoadBalancerArn", "")) or {}
    return {of_subnet(subnet) for subnet in balancer.get("Subnets", [])}


def _groups(actions: Iterable[Mapping[str, Any]]) -> set[str]:
    weighted = [
        group["TargetGroupArn"]
        for action in actions
        for group in (action.get("ForwardConfig") or {}).get("TargetGroups", [])
    ]
    return {*weighted, *(action["TargetGroupArn"] for action in actions if action.get("TargetGroupArn"))}


def subnet_problem(subnets: Sequence[str]) -> tuple[str, str] | None:
    """Return error code and message for subnets that AWS rejects for an application load balancer, or ``None``."""
    # claim: load-balancer-subnets-in-two-zones
    if len({of_subnet(subnet) or subnet for subnet in subnets}) < _ZONES:
        return "ValidationError", "At least two subnets in two different Availability Zones must be specified"
    return None


def attribute_problem(attributes: Iterable[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return error code and message for target group attributes that the proxy does not support, or ``None``."""
    # claim: cross-zone-balancing-is-on
    values = {str(row.get("Key")): str(row.get("Value")) for row in attributes}
    if values.get(CROSS_ZONE, "true") not in {"true", "use_load_balancer_configuration"}:
        return (
            "ValidationError",
            f"{CROSS_ZONE}={values[CROSS_ZONE]} is not in the embedded cloud, whose proxy has one address for all zones; "
            "leave it out, or set use_load_balancer_configuration",
        )
    return None
