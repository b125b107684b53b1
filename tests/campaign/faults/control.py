"""The faults that an embedded cloud puts into the tasks of its machines."""

from typing import Any

from mlops_local.cloud import Cloud


def put_faults(cloud: Cloud, *faults: dict[str, Any]) -> list[dict[str, Any]]:
    """Put faults in place of those before, and return what those have met."""
    met = cloud.call("/_mlops/faults")
    cloud.call("/_mlops/faults", faults)
    return list(met)
