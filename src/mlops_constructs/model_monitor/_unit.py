"""Whether what is watched is of the unit that watches it: anywhere else no command looks for its reports, metrics and events."""

from mlops_constructs._validation import is_known
from mlops_constructs.model_endpoint import IServedModel
from mlops_constructs.unit_interface import IBusinessUnit


def check_endpoint_unit(endpoint: IServedModel, business_unit: IBusinessUnit) -> str | None:
    """Return the problem of an endpoint that is of another unit.

    An endpoint is named ``<unit>-<name>`` and its table has the unit's key. The key tells units apart whose names begin alike, the
    name those that share a key.

    Args:
        endpoint: The endpoint.
        business_unit: The unit that is to watch it.
    """
    name, unit = endpoint.endpoint_name, business_unit.name
    is_named_after = not (is_known(name) and is_known(unit)) or name.startswith(f"{unit}-")
    key = endpoint.rollout.table.encryption_key
    # by address: jsii hands out an imported key as another object each time
    if is_named_after and key is not None and key.node.addr == business_unit.key.node.addr:
        return None
    return (
        f"endpoint must be of unit {unit!r}, got {name!r} of another: its reports would lie where no command looks; give the "
        "business_unit of the endpoint"
    )
