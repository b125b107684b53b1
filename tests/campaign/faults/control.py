"""Control of the faults that an embedded cloud injects into the tasks of its machines."""

from typing import Any

from mlops_local.cloud import Cloud


def put_faults(cloud: Cloud, *faults: dict[str, Any]) -> list[dict[str, Any]]:
    """Replace the faults, and return the calls that the previous ones have met."""
    met = cloud.call("/_mlops/faults")
    cloud.call("/_mlops/faults", faults)
    return list(met)
