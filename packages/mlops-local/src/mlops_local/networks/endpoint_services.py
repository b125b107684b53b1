"""Services with interface endpoints in a Region: those that the library's networks use, in addition to MiniStack's.

``POST /_mlops/endpoint_services`` with ``["states"]`` removes services, as a newer Region may lack them; it replaces the previous
list.

See: https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
"""

import json

from ministack.services import ec2

from mlops_local import compat
from mlops_local.routes import ROUTES

compat.expect("ministack.services.ec2", _VPCE_INTERFACE_SERVICES=tuple)

# claim: regions-differ-in-endpoint-services
_MORE = ("athena", "autoscaling", "eks", "elasticloadbalancing", "glue", "sagemaker.api", "sagemaker.runtime", "states")
_ALL = tuple(sorted({*ec2._VPCE_INTERFACE_SERVICES, *_MORE}))


def install() -> None:
    """Complete MiniStack's list, and register the address ``/_mlops/endpoint_services``."""
    ec2._VPCE_INTERFACE_SERVICES = _ALL
    ROUTES["/_mlops/endpoint_services"] = control


def control(method: str, body: bytes) -> tuple[int, object]:
    """Serve ``/_mlops/endpoint_services``: POST the services that the Region lacks, GET those that it has."""
    if method == "POST":
        try:
            missing = [str(name) for name in json.loads(body)]
        except (ValueError, TypeError) as error:
            return 400, {"message": f"expected a list of services: {type(error).__name__}: {error}"}
        unknown = sorted(set(missing) - set(_ALL))
        if unknown:
            return 400, {"message": f"no endpoint services of these names: {', '.join(unknown)}"}
        ec2._VPCE_INTERFACE_SERVICES = tuple(name for name in _ALL if name not in missing)
    elif method != "GET":
        return 405, {"message": f"POST services that the region lacks, or GET those that it has, got {method}"}
    return 200, list(ec2._VPCE_INTERFACE_SERVICES)
