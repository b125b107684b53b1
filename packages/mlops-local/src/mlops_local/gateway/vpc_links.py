"""VPC links V2: the way of an API to a private load balancer.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-vpc-links-v2.html
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ministack.core.responses import new_uuid
from ministack.services import alb, ec2
from ministack.services.cloudformation import provisioners

from mlops_local import compat
from mlops_local.gateway.exchange import Record
from mlops_local.gateway.integration_responses import MappingError
from mlops_local.load_balancer import balancer_api
from mlops_local.saved_state import kept_stores

compat.expect("ministack.services.alb", _lbs=object, _listeners=object)
compat.expect("ministack.services.ec2", _security_groups=object, _subnets=object)
compat.expect("ministack.services.cloudformation.provisioners", _RESOURCE_HANDLERS=dict)

Properties = dict[str, Any]
_LINKS: dict[str, Properties] = kept_stores.keep(__name__, "_LINKS", {})


class LinkError(ValueError):
    """AWS refuses a VPC link of a template."""


def install() -> None:
    """Make links of templates."""
    provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::VpcLink"] = {
        "create": _create, "update": _update, "delete": _delete,
    }  # fmt: skip


def port(integration: Record) -> int:
    """Return the port on this machine at which the load balancer of a private integration listens.

    Args:
        integration: With the link in ``connectionId``, the load balancer or a listener in ``integrationTarget``, and the
            listener's port in ``uri`` where the target is a load balancer.

    Raises:
        MappingError: The link, the load balancer or its listener does not exist.
    """
    # claim: vpc-links-reach-load-balancers
    link, target = str(integration.get("connectionId") or ""), str(integration.get("integrationTarget") or "")
    if link not in _LINKS:
        raise MappingError(f"VPC link {link!r} does not exist")
    parts = urlsplit(str(integration.get("uri") or ""))
    wanted = parts.port or (443 if parts.scheme == "https" else 80)
    name = target
    if ":listener/" in target:
        listener = alb._listeners.get(target) or {}
        name, wanted = str(listener.get("LoadBalancerArn", "")), int(listener.get("Port", 0))
    balancer = alb._lbs.get(name) or {}
    found = balancer_api.listening(str(balancer.get("DNSName", "")), wanted)
    if found is None:
        raise MappingError(f"integration target {target!r} does not listen on port {wanted}")
    return found


def _create(_logical_id: str, given: Properties, _stack: str) -> tuple[str, Properties]:
    # claim: vpc-links-name-their-network
    problems = [name for name in ("Name", "SubnetIds") if not given.get(name)]
    unknown = [each for each in given.get("SubnetIds") or () if each not in ec2._subnets]
    unknown += [each for each in given.get("SecurityGroupIds") or () if each not in ec2._security_groups]
    if problems or unknown:
        raise LinkError(f"AWS::ApiGatewayV2::VpcLink: missing are {problems}, unknown are {unknown}")
    made = new_uuid().replace("-", "")[:6]
    _LINKS[made] = dict(given)
    return made, {"VpcLinkId": made}


def _update(physical_id: str, old: Mapping[str, Any], new: Properties, stack: str) -> tuple[str, Properties]:
    if any(old.get(name) != new.get(name) for name in ("SubnetIds", "SecurityGroupIds")):
        return _create(physical_id, new, stack)
    _LINKS[physical_id] = dict(new)
    return physical_id, {"VpcLinkId": physical_id}


def _delete(physical_id: str, _given: Properties) -> None:
    _LINKS.pop(physical_id, None)
