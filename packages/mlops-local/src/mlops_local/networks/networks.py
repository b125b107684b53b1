"""EC2's limits of networks: the VPC quota of a Region, and services without an endpoint in a Region or in one of its zones.

Five VPCs per Region including the default one, unless ``POST /_mlops/quotas`` with ``{"VPCs per Region": 10}`` or the variable
``MLOPS_LOCAL_VPCS`` sets another quota. A Region has the interface endpoints that the library's networks use, in addition to
MiniStack's; ``POST /_mlops/endpoint_services`` with ``["states"]`` removes services, as a newer Region may lack them, and
replaces the previous list. Every service is available in every zone, unless ``POST /_mlops/zones`` with
``{"com.amazonaws.us-east-1.states": ["us-east-1a"]}`` lists the zones that lack it.

See: https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html,
https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
and https://github.com/awslabs/aws-orbit-workbench/issues/320
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from ministack.services import ec2

from mlops_local import service_quotas
from mlops_local.routes import ROUTES
from mlops_local.saved_state import kept_stores
from mlops_local.stacks import handler_steps

Refusal = tuple[str, str]
_MISSING: dict[str, list[str]] = kept_stores.keep(__name__, "_MISSING", {})

# claim: regions-differ-in-endpoint-services
_MORE = ("athena", "autoscaling", "eks", "elasticloadbalancing", "glue", "sagemaker.api", "sagemaker.runtime", "states")
_SERVICES = tuple(sorted({*ec2._VPCE_INTERFACE_SERVICES, *_MORE}))


def install() -> None:
    """Add the checks to the API and to CloudFormation's handlers."""
    ROUTES["/_mlops/zones"] = control
    for action, check in (
        ("CreateVpc", lambda _: network_refusal()),
        (
            "CreateVpcEndpoint",
            lambda p: endpoint_refusal(ec2._p(p, "ServiceName"), ec2._parse_member_list(p, "SubnetId")),
        ),
    ):
        ec2._ACTION_MAP[action] = partial(_checked, ec2._ACTION_MAP[action], check)
    for resource_type, check in (
        ("AWS::EC2::VPC", lambda _: network_refusal()),
        (
            "AWS::EC2::VPCEndpoint",
            lambda given: endpoint_refusal(str(given.get("ServiceName", "")), given.get("SubnetIds") or []),
        ),
    ):
        handler_steps.check(resource_type, partial(_check_properties, check), ["create"])
    _offer_more()


def network_refusal() -> Refusal | None:
    """Return why the Region can have no further VPC, or ``None``."""
    # claim: five-vpcs-per-region
    # claim: default-vpc-counts
    if len(ec2._vpcs) < service_quotas.value(service_quotas.VPCS):
        return None
    return "VpcLimitExceeded", "The maximum number of VPCs has been reached."


def endpoint_refusal(service: str, subnets: list[str]) -> Refusal | None:
    """Return why a service, ``com.amazonaws.<region>.<name>``, cannot have an endpoint in these subnets, or ``None``."""
    # claim: endpoint-services-have-zones
    for name in subnets:
        if (ec2._subnets.get(name) or {}).get("AvailabilityZone") in _MISSING.get(service, ()):
            message = (
                f"The VPC endpoint service {service} does not support the availability zone of the subnet: {name}."
            )
            return "InvalidParameter", message
    return None


def control(method: str, body: bytes) -> tuple[int, object]:
    """Serve ``/_mlops/zones``: POST the zones that lack a service, by the service's name; GET what was set."""
    if method == "POST":
        try:
            given = {str(service): [str(zone) for zone in zones] for service, zones in json.loads(body).items()}
        except (ValueError, TypeError, AttributeError) as error:
            return 400, {"message": f"expected lists of zones by name of a service: {type(error).__name__}: {error}"}
        _MISSING.clear()
        _MISSING.update(given)
    elif method != "GET":
        return 405, {"message": f"POST zones by name of a service, or GET them, got {method}"}
    return 200, dict(_MISSING)


def _checked(call: Callable[[Any], Any], check: Callable[[Any], Refusal | None], p: Any) -> Any:
    refusal = check(p)
    return call(p) if refusal is None else ec2._error(*refusal, 400)


def _check_properties(check: Callable[[dict[str, Any]], Refusal | None], properties: dict[str, Any]) -> None:
    # claim: five-vpcs-per-region
    # claim: endpoint-services-have-zones
    refusal = check(properties)
    if refusal is not None:
        code, message = refusal
        raise ValueError(
            f'Resource handler returned message: "{message} (Service: Ec2, Status Code: 400, Error Code: {code})"'
        )


def _offer_more() -> None:
    """Complete MiniStack's list, and register the address ``/_mlops/endpoint_services``."""
    ec2._VPCE_INTERFACE_SERVICES = _SERVICES
    ROUTES["/_mlops/endpoint_services"] = control_services


def control_services(method: str, body: bytes) -> tuple[int, object]:
    """Serve ``/_mlops/endpoint_services``: POST the services that the Region lacks, GET those that it has."""
    if method == "POST":
        try:
            missing = [str(name) for name in json.loads(body)]
        except (ValueError, TypeError) as error:
            return 400, {"message": f"expected a list of services: {type(error).__name__}: {error}"}
        unknown = sorted(set(missing) - set(_SERVICES))
        if unknown:
            return 400, {"message": f"no endpoint services of these names: {', '.join(unknown)}"}
        ec2._VPCE_INTERFACE_SERVICES = tuple(name for name in _SERVICES if name not in missing)
    elif method != "GET":
        return 405, {"message": f"POST services that the region lacks, or GET those that it has, got {method}"}
    return 200, list(ec2._VPCE_INTERFACE_SERVICES)
