"""What the objects of a service are called, and how one is pointed at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]

FIELD_MANAGER = "mlops-constructs"
SERVICE_LABEL = "app.kubernetes.io/name"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
SLOT_LABEL = "mlops.constructs/slot"
ANNOTATION_PREFIX = "mlops.constructs/"
PORT = 8080
# what a cluster must have, as a custom resource names it (``requirements``)
NETWORK_POLICIES, METRICS = "networkPolicies", "metrics"
UID = 10001


def slot_name(endpoint: str, slot: str) -> str:
    """Return the one name of a slot's Deployment, Service, HPA, PDB and TargetGroupBinding.

    Example:
        >>> slot_name("demand-forecast", "blue")
        'demand-forecast-blue'
    """
    return f"{endpoint}-{slot}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """One object of a cluster; a cluster-wide kind has no namespace.

    Example:
        >>> str(Ref(api_version="apps/v1", kind="Deployment", namespace="demand", name="forecast-blue"))
        'Deployment demand/forecast-blue'
    """

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.namespace is None else f"{self.kind} {self.namespace}/{self.name}"


def ref(manifest: Mapping[str, Any]) -> Ref:
    """Return what a manifest is about."""
    metadata = manifest["metadata"]
    return Ref(
        api_version=manifest["apiVersion"],
        kind=manifest["kind"],
        name=metadata["name"],
        namespace=metadata.get("namespace"),
    )


def deployment_ref(*, namespace: str, endpoint: str, slot: str) -> Ref:
    """Return the Deployment of a slot."""
    return Ref(api_version="apps/v1", kind="Deployment", namespace=namespace, name=slot_name(endpoint, slot))


def scaler_ref(*, namespace: str, endpoint: str, slot: str) -> Ref:
    """Return the HorizontalPodAutoscaler of a slot, which an idle slot does not have."""
    return Ref(
        api_version="autoscaling/v2",
        kind="HorizontalPodAutoscaler",
        namespace=namespace,
        name=slot_name(endpoint, slot),
    )
