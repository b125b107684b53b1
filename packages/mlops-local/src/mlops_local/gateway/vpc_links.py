"""VPC links V2, which connect an API to a private load balancer.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-vpc-links-v2.html
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from ministack.core.responses import new_uuid
from ministack.services import alb, ec2
from ministack.services.cloudformation import provisioners

from mlops_local.gateway.exchange import Record
from mlops_local.gateway.integration_mappings import MappingError
from mlops_local.load_balancer import balancer_api
from mlops_local.networks import security_groups
from mlops_local.saved_state import kept_stores

Properties = dict[str, Any]
_LINKS: dict[str, Properties] = kept_stores.keep(__name__, "_LINKS", {})


class LinkError(ValueError):
    """AWS rejects a VPC link of a template."""


def install() -> None:
    """Register VPC links of templates."""
    provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::VpcLink"] = {
        "create": _create, "update": _update, "delete": _delete,
    }  # fmt: skip


def port(integration: Record) -> int:
    """Return the local port of the load balancer of a private integration.

    Args:
        integration: The link is in ``connectionId``, the load balancer or a listener in ``integrationTarget``, and the
            listener's port in ``uri`` if the target is a load balancer.

    Raises:
        MappingError: If the link, the load balancer or its listener does not exist, security groups block the connection, or the
            listener's certificate does not match ``uri``.
    """
    # claim: vpc-links-reach-load-balancers
    name, target = str(integration.get("connectionId") or ""), str(integration.get("integrationTarget") or "")
    link = _LINKS.get(name)
    if link is None:
        raise MappingError(f"VPC link {name!r} does not exist")
    parts = urlsplit(str(integration.get("uri") or ""))
    wanted = parts.port or (443 if parts.scheme == "https" else 80)
    listener = _listener(target, wanted)
    balancer = alb._lbs.get(str(listener.get("LoadBalancerArn", ""))) or {}
    wanted = int(listener.get("Port", wanted))
    found = balancer_api.listening(str(balancer.get("DNSName", "")), wanted)
    if found is None:
        raise MappingError(f"integration target {target!r} does not listen on port {wanted}")
    problem = security_groups.link_problem(
        subnets=link["SubnetIds"],
        groups=link.get("SecurityGroupIds") or (),
        to_subnets=balancer.get("Subnets") or (),
        to_groups=balancer.get("SecurityGroups") or (),
        port=wanted,
    ) or _name_problem(listener, parts.scheme, str(parts.hostname))
    if problem:
        raise MappingError(f"VPC link {name}: {problem}")
    return found


def _listener(target: str, port: int) -> Mapping[str, Any]:
    """Return the record of a listener, by its ARN or by its load balancer's ARN and port; empty if unknown."""
    if ":listener/" in target:
        return dict(alb._listeners.get(target) or {})
    listeners = [each for each in alb._listeners.values() if each["LoadBalancerArn"] == target]
    return next((dict(each) for each in listeners if int(each["Port"]) == port), {})


def _name_problem(listener: Mapping[str, Any], scheme: str, host: str) -> str | None:
    """Return why a gateway rejects a listener's protocol or certificate, or ``None``."""
    # claim: private-integrations-verify-names
    is_secure = listener.get("Protocol") == "HTTPS"
    if is_secure is not (scheme == "https"):
        return f"the listener speaks {listener.get('Protocol')}, uri has {scheme}"
    names = balancer_api.certified_names(listener)
    if not names or any(_covers(name, host) for name in names):
        return None  # no certificate of this cloud: its names are unknown
    return f"host name {host!r} does not match the certificate subject provided by the peer ({', '.join(names)})"


def _covers(name: str, host: str) -> bool:
    """Return whether a certificate's name matches a host; a star is one label."""
    return name.count(".") == host.count(".") and fnmatchcase(host.lower(), name)


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
