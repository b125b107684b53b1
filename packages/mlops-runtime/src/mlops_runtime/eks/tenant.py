"""Manifests of a business unit's namespace, which a platform team applies once, before the unit's functions can apply theirs."""

from collections.abc import Sequence

from mlops_runtime.contracts.serving import EksTenantSpec
from mlops_runtime.eks.kubernetes_objects import FIELD_MANAGER, MANAGED_LABEL, Manifest
from mlops_runtime.eks.slot_limits import SLOT_GROUP_SUFFIX, ManifestError, tenant_problems

APPLIER_ROLE = "mlops-applier"
SLOT_ROLE = "mlops-slots"
# server-side apply needs patch, and create for new objects
_APPLY = ("create", "get", "patch")
_APPLY_AND_DELETE = ("create", "delete", "get", "patch")
_SCALE = ("get", "patch")


def tenant_manifests(tenant: EksTenantSpec) -> list[Manifest]:
    """Return a unit's namespace with the policies for all pods in it.

    One Role allows its group to apply the objects of services, but no secrets, pods or roles. Another Role, for moving slots,
    allows neither identities nor network policies, and deletes only autoscalers.

    Raises:
        ManifestError: With all problems.

    Example:
        >>> size = {"cpu": "64", "memory": "256Gi", "pods": 100}
        >>> unit = EksTenantSpec(namespace="demand", unit="demand", applier_group="mlops:demand", **size)
        >>> [manifest["kind"] for manifest in tenant_manifests(unit)]
        ['Namespace', 'ResourceQuota', 'LimitRange', 'NetworkPolicy', 'Role', 'RoleBinding', 'Role', 'RoleBinding']
    """
    problems = list(tenant_problems(tenant))
    if problems:
        raise ManifestError(problems)
    place = [_namespace(tenant), _quota(tenant), _limits(tenant), _deny(tenant)]
    rights = ((APPLIER_ROLE, _service_rules(), tenant.applier_group), (SLOT_ROLE, _slot_rules(), slot_group(tenant)))
    for name, rules, group in rights:
        place += [_role(tenant, name, rules), _role_binding(tenant, name, group)]
    return place


def slot_group(tenant: EksTenantSpec) -> str:
    """Return the Kubernetes group with permission to move slots only.

    Example:
        >>> size = {"cpu": "64", "memory": "256Gi", "pods": 100}
        >>> slot_group(EksTenantSpec(namespace="demand", unit="demand", applier_group="mlops:demand", **size))
        'mlops:demand:slots'
    """
    return tenant.applier_group + SLOT_GROUP_SUFFIX


def enforcement_manifest() -> Manifest:
    """Return the setting without which EKS Auto Mode accepts network policies but does not enforce them.

    Without Auto Mode, the VPC CNI add-on manages it, and it is not sufficient: the node agents must be enabled too.

    See: https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "amazon-vpc-cni", "namespace": "kube-system"},
        "data": {"enable-network-policy-controller": "true"},
    }


def _metadata(tenant: EksTenantSpec, name: str) -> dict[str, object]:
    return {"name": name, "namespace": tenant.namespace, "labels": _labels(tenant)}


def _labels(tenant: EksTenantSpec) -> dict[str, str]:
    return {**tenant.labels, "mlops.constructs/unit": tenant.unit, MANAGED_LABEL: FIELD_MANAGER}


def _namespace(tenant: EksTenantSpec) -> Manifest:
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    # label of Auto Mode, and that of the self-installed controller; each ignores the other's
    gates = {f"{group}/pod-readiness-gate-inject": "enabled" for group in ("eks.amazonaws.com", "elbv2.k8s.aws")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": tenant.namespace,
            "labels": {**_labels(tenant), **levels, "pod-security.kubernetes.io/enforce-version": "latest", **gates},
        },
    }


def _quota(tenant: EksTenantSpec) -> Manifest:
    hard = {
        "limits.cpu": tenant.cpu,
        "limits.memory": tenant.memory,
        "requests.cpu": tenant.cpu,
        "requests.memory": tenant.memory,
        "pods": str(tenant.pods),
        # a unit is only reachable through its load balancer's target groups
        "services.loadbalancers": "0",
        "services.nodeports": "0",
    }
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": _metadata(tenant, "unit"), "spec": {"hard": hard}}


def _limits(tenant: EksTenantSpec) -> Manifest:
    usual = {"cpu": "250m", "memory": "256Mi"}
    limit = {
        "type": "Container",
        "default": dict(usual),
        "defaultRequest": dict(usual),
        # memory above the request would be taken from other pods
        "maxLimitRequestRatio": {"memory": "1"},
    }
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": _metadata(tenant, "unit"),
        "spec": {"limits": [limit]},
    }


def _deny(tenant: EksTenantSpec) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(tenant, "default-deny"),
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }


def _service_rules() -> list[dict[str, list[str]]]:
    return [
        _rule("", "serviceaccounts", "services"),
        _rule("apps", "deployments"),
        _rule("apps", "deployments/scale", verbs=_SCALE),
        _rule("autoscaling", "horizontalpodautoscalers"),
        _rule("policy", "poddisruptionbudgets"),
        _rule("networking.k8s.io", "networkpolicies"),
        _rule("eks.amazonaws.com", "targetgroupbindings"),
        _rule("elbv2.k8s.aws", "targetgroupbindings"),
    ]


def _slot_rules() -> list[dict[str, list[str]]]:
    return [
        _rule("", "services", verbs=_APPLY),
        _rule("apps", "deployments", verbs=_APPLY),
        _rule("apps", "deployments/scale", verbs=_SCALE),
        # deletion too: an autoscaler would start an idle slot
        _rule("autoscaling", "horizontalpodautoscalers"),
        _rule("policy", "poddisruptionbudgets", verbs=_APPLY),
        _rule("eks.amazonaws.com", "targetgroupbindings", verbs=_APPLY),
        _rule("elbv2.k8s.aws", "targetgroupbindings", verbs=_APPLY),
    ]


def _rule(group: str, *resources: str, verbs: Sequence[str] = _APPLY_AND_DELETE) -> dict[str, list[str]]:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _role(tenant: EksTenantSpec, name: str, rules: list[dict[str, list[str]]]) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _metadata(tenant, name),
        "rules": rules,
    }


def _role_binding(tenant: EksTenantSpec, name: str, group: str) -> Manifest:
    api = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(tenant, name),
        "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": api, "kind": "Group", "name": group}],
    }
