"""In which Availability Zones load balancers stand, and what AWS refuses of their subnets and their zones.

A target whose zone is not enabled for the load balancers of its group gets no requests and no health checks. A subnet that this
cloud did not make belongs to a network that a platform team shares: AWS would know it, here it counts as a zone of its own, and a
load balancer in it takes targets of every zone. Balancing across zones is on for an application load balancer, as on AWS; the
proxy cannot imitate a group that switches it off, so that is refused.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-subnets.html
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ministack.services import alb, ec2

from mlops_local import compat

compat.expect("ministack.services.ec2", _subnets=object)
compat.expect("ministack.services.alb", _lbs=object, _rules=object, _listeners=object)

ANY = ""  # the zone of a subnet that this cloud did not make
CROSS_ZONE = "load_balancing.cross_zone.enabled"
_ZONES = 2


def of_subnet(subnet: str) -> str:
    """Return the zone of a subnet; ``ANY`` for one that this cloud did not make."""
    record: Mapping[str, Any] | None = ec2._subnets.get(subnet)
    return ANY if record is None else str(record["AvailabilityZone"])


def by_group() -> dict[str, frozenset[str]]:
    """Return the enabled zones of each target group to which a rule or listener forwards, with any weight.

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
    """Return the error code and message of subnets that AWS refuses for an application load balancer, or ``None``."""
    # claim: load-balancer-subnets-in-two-zones
    if len({of_subnet(subnet) or subnet for subnet in subnets}) < _ZONES:
        return "ValidationError", "At least two subnets in two different Availability Zones must be specified"
    return None


def attribute_problem(attributes: Iterable[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return the error code and message of a target group's attributes that the proxy cannot imitate, or ``None``.

    Args:
        attributes: ``Key`` and ``Value`` of each.
    """
    # claim: cross-zone-balancing-is-on
    values = {str(row.get("Key")): str(row.get("Value")) for row in attributes}
    if values.get(CROSS_ZONE, "true") not in {"true", "use_load_balancer_configuration"}:
        return (
            "ValidationError",
            f"{CROSS_ZONE}={values[CROSS_ZONE]} is not in the embedded cloud, whose proxy has one address for all zones; "
            "leave it out, or set use_load_balancer_configuration",
        )
    return None
