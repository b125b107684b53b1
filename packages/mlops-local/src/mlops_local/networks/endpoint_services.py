"""Which services a region offers by interface endpoints: those that the library's networks use, beside MiniStack's.

``POST /_mlops/endpoint_services`` with ``["states"]`` takes services away, as a younger region lacks them, in place of those
before.

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
    """Complete MiniStack's list, and register the address by which a region loses some."""
    ec2._VPCE_INTERFACE_SERVICES = _ALL
    ROUTES["/_mlops/endpoint_services"] = control


def control(method: str, body: bytes) -> tuple[int, object]:
    """Answer ``/_mlops/endpoint_services``: POST of services that the region lacks, GET of those that it has."""
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
