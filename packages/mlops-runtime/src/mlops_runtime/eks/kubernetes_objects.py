"""Names of a service's Kubernetes objects, and API paths of the kinds that are applied."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Manifest = dict[str, Any]

FIELD_MANAGER = "mlops-constructs"
SERVICE_LABEL = "app.kubernetes.io/name"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
SLOT_LABEL = "mlops.constructs/slot"
ANNOTATION_PREFIX = "mlops.constructs/"
PORT = 8080
# requirements of a cluster, by their names in the custom resource (``requirements``)
NETWORK_POLICIES, METRICS = "networkPolicies", "metrics"
UID = 10001

# (API version, kind): (plural, has a namespace)
KINDS: dict[tuple[str, str], tuple[str, bool]] = {
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "LimitRange"): ("limitranges", True),
    ("v1", "Namespace"): ("namespaces", False),
    ("v1", "ResourceQuota"): ("resourcequotas", True),
    ("v1", "Service"): ("services", True),
    ("v1", "ServiceAccount"): ("serviceaccounts", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): ("horizontalpodautoscalers", True),
    ("eks.amazonaws.com/v1", "TargetGroupBinding"): ("targetgroupbindings", True),
    ("elbv2.k8s.aws/v1beta1", "TargetGroupBinding"): ("targetgroupbindings", True),
    ("networking.k8s.io/v1", "NetworkPolicy"): ("networkpolicies", True),
    ("policy/v1", "PodDisruptionBudget"): ("poddisruptionbudgets", True),
    ("rbac.authorization.k8s.io/v1", "Role"): ("roles", True),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("rolebindings", True),
}

# kinds that are only read
_READ: dict[tuple[str, str], tuple[str, bool]] = {("apps/v1", "DaemonSet"): ("daemonsets", True)}


def slot_name(endpoint: str, slot: str) -> str:
    """Return the common name of a slot's Deployment, Service, HPA, PDB and TargetGroupBinding.

    Example:
        >>> slot_name("demand-forecast", "blue")
        'demand-forecast-blue'
    """
    return f"{endpoint}-{slot}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """Reference to a Kubernetes object; cluster-scoped kinds have no namespace.

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
    """Return the reference to a manifest's object."""
    metadata = manifest["metadata"]
    return Ref(
        api_version=manifest["apiVersion"],
        kind=manifest["kind"],
        name=metadata["name"],
        namespace=metadata.get("namespace"),
    )


def deployment_ref(*, namespace: str, endpoint: str, slot: str) -> Ref:
    """Return the reference to a slot's Deployment."""
    return Ref(api_version="apps/v1", kind="Deployment", namespace=namespace, name=slot_name(endpoint, slot))


def scaler_ref(*, namespace: str, endpoint: str, slot: str) -> Ref:
    """Return the reference to a slot's HorizontalPodAutoscaler; idle slots have no autoscaler."""
    return Ref(
        api_version="autoscaling/v2",
        kind="HorizontalPodAutoscaler",
        namespace=namespace,
        name=slot_name(endpoint, slot),
    )


class UnknownKindError(ValueError):
    """A kind that is not supported."""


def path(reference: Ref, *, is_read: bool = False) -> str:
    """Return the path of an object in the API.

    Args:
        reference: The object.
        is_read: Whether to also allow kinds that are only read. Default: no.

    Raises:
        UnknownKindError: If its kind is not supported, or its namespace is missing or not allowed.

    Example:
        >>> path(Ref(api_version="apps/v1", kind="Deployment", namespace="demand", name="forecast-blue"))
        '/apis/apps/v1/namespaces/demand/deployments/forecast-blue'
    """
    known_kinds = {**KINDS, **_READ} if is_read else KINDS
    found = known_kinds.get((reference.api_version, reference.kind))
    if found is None:
        known = ", ".join(f"{kind} ({api})" for api, kind in KINDS)
        raise UnknownKindError(
            f"{reference.kind} ({reference.api_version}) is not supported; allowed are {known}; apply it with kubectl or GitOps"
        )
    plural, is_namespaced = found
    if is_namespaced is not bool(reference.namespace):
        fix = "give metadata.namespace" if is_namespaced else "omit metadata.namespace"
        raise UnknownKindError(f"{reference.kind} {reference.name!r}, got namespace {reference.namespace!r}; {fix}")
    root = "/api" if "/" not in reference.api_version else "/apis"
    space = f"/namespaces/{_safe(str(reference.namespace))}" if is_namespaced else ""
    return f"{root}/{reference.api_version}{space}/{plural}/{_safe(reference.name)}"


def _safe(name: str) -> str:
    if not name or name in (".", ".."):
        raise UnknownKindError(f"the name of an object must not be {name!r}; use lower-case letters, digits and dashes")
    return quote(name, safe="")
