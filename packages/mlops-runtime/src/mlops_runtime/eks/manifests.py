"""Manifests of a service on a cluster, as plain values: two complete slots, and the objects that both share.

Selectors and names never change, so that the load balancer's readiness gates stay valid; only the version in a slot does.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import SLOTS, SlotState, SlotVersion
from mlops_runtime.eks.kubernetes_objects import (
    ANNOTATION_PREFIX,
    FIELD_MANAGER,
    MANAGED_LABEL,
    PORT,
    SERVICE_LABEL,
    SLOT_LABEL,
    Manifest,
    slot_name,
)
from mlops_runtime.eks.pod import VERSION_FIELDS, eks_of, pod_template, version_annotations
from mlops_runtime.eks.slot_limits import ManifestError, spec_problems, version_problems

Replicas = Literal["serving", "idle"]

_SERVICE_PORT = 80
_POD_IDENTITY_AGENT = "169.254.170.23/32"
# addresses of a cluster's DNS besides its pods: EKS's address in its two default ranges (in Auto Mode, DNS is a process of the
# node, not a pod), and that of a node-local cache
_DNS = ("10.100.0.10/32", "169.254.20.10/32", "172.20.0.10/32")


def slot_manifests(
    spec: ServingSpec, slot: str, version: SlotVersion | None, *, replicas: Replicas = "serving"
) -> list[Manifest]:
    """Return a slot's objects in the order of application: Service and binding before the pods, which wait for them.

    The Deployment of a serving slot has no ``replicas``, since its HPA sets them. An idle slot has 0 replicas and no HPA. A slot
    that has never run a version has only its Service and TargetGroupBinding.

    Args:
        spec: The serving spec, with ``eks``.
        slot: ``blue`` or ``green``.
        version: The version that the slot runs; ``None`` for a slot that has never run one.
        replicas: Whether the slot serves or is idle. Default: it serves.

    Raises:
        ManifestError: With all problems of the spec and the version.

    Example:
        >>> [m["kind"] for m in slot_manifests(spec, "blue", version)]  # doctest: +SKIP
        ['Service', 'TargetGroupBinding', 'PodDisruptionBudget', 'Deployment', 'HorizontalPodAutoscaler']
    """
    problems = list(spec_problems(spec))
    if slot not in SLOTS:
        problems.append(f"slot must be one of {', '.join(SLOTS)}, got {slot!r}")
    if version is not None:
        problems += version_problems(spec, version)
    elif replicas != "idle":
        problems.append(f"slot {slot!r} has no version and cannot serve; give a version, or replicas='idle'")
    if problems:
        raise ManifestError(problems)
    made = [_service(spec, slot), _binding(spec, slot)]
    if version is None:
        return made
    made += [_budget(spec, slot), _deployment(spec, slot, version, replicas=replicas)]
    return made if replicas == "idle" else [*made, _scaler(spec, slot)]


def service_manifests(spec: ServingSpec) -> list[Manifest]:
    """Return the shared objects of a service's slots: the pods' ServiceAccount, and the NetworkPolicy.

    See: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-considerations.html (the agent's address)

    Args:
        spec: The serving spec, with ``eks``.

    Raises:
        ManifestError: With all problems of the spec.
    """
    problems = list(spec_problems(spec))
    if problems:
        raise ManifestError(problems)
    eks = eks_of(spec)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(spec, eks.service_account),
        "automountServiceAccountToken": False,
    }
    return [account, _policy(spec)]


def read_slot(deployment: Mapping[str, Any] | None, slot: str) -> SlotState:
    """Return the state of a slot from its Deployment.

    ``ready`` counts only pods of the newest revision and is a lower bound: the status does not contain the revision of ready pods,
    so every remaining old pod is assumed to be ready.

    A Deployment whose annotations were changed to an invalid version has no version.

    Args:
        deployment: The Deployment from the cluster; ``None`` if it does not exist.
        slot: ``blue`` or ``green``.
    """
    if deployment is None:
        return SlotState(slot=slot, version=None)
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    desired = int(deployment["spec"].get("replicas", 1))
    version = _read_version(metadata.get("annotations") or {})
    # a Deployment without an observed generation is new
    if int(status.get("observedGeneration", 0)) < int(metadata.get("generation", 1)):
        reason = "the cluster has not observed the newest revision yet"
        unsorted = int(status.get("readyReplicas", 0))
        return SlotState(slot=slot, version=version, desired=desired, reason=reason, unsorted=unsorted)
    updated, total = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    ready = max(0, int(status.get("readyReplicas", 0)) - max(0, total - updated))
    return SlotState(
        slot=slot,
        version=version,
        desired=desired,
        ready=min(ready, updated),
        updated=updated,
        reason=_reason(status.get("conditions") or []),
    )


def selector(spec: ServingSpec, slot: str) -> dict[str, str]:
    """Return the selector labels of a slot's pods; they never change."""
    return {SERVICE_LABEL: spec.endpoint, SLOT_LABEL: slot}


def _metadata(spec: ServingSpec, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    own = {} if labels is None else labels
    return {
        "name": name,
        "namespace": eks_of(spec).namespace,
        "labels": {SERVICE_LABEL: spec.endpoint, MANAGED_LABEL: FIELD_MANAGER, **own},
    }


def _slot_metadata(spec: ServingSpec, slot: str) -> dict[str, Any]:
    return _metadata(spec, slot_name(spec.endpoint, slot), selector(spec, slot))


def _deployment(spec: ServingSpec, slot: str, version: SlotVersion, *, replicas: Replicas) -> Manifest:
    metadata = _slot_metadata(spec, slot)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata, "annotations": version_annotations(version)},
        "spec": {
            **({"replicas": 0} if replicas == "idle" else {}),
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": selector(spec, slot)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": pod_template(spec, version, labels=metadata["labels"], selector=selector(spec, slot)),
        },
    }


def _service(spec: ServingSpec, slot: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _slot_metadata(spec, slot),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(spec, slot),
            "ports": [{"name": "http", "port": _SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _binding(spec: ServingSpec, slot: str) -> Manifest:
    eks = eks_of(spec)
    return {
        "apiVersion": eks.binding_api,
        "kind": "TargetGroupBinding",
        "metadata": _slot_metadata(spec, slot),
        "spec": {
            "serviceRef": {"name": slot_name(spec.endpoint, slot), "port": _SERVICE_PORT},
            "targetGroupARN": eks.target_groups[slot],
            "targetType": "ip",
        },
    }


def _budget(spec: ServingSpec, slot: str) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _slot_metadata(spec, slot),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector(spec, slot)},
            # a pod that does not become ready must not prevent its node from being drained
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _scaler(spec: ServingSpec, slot: str) -> Manifest:
    eks = eks_of(spec)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _slot_metadata(spec, slot),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": slot_name(spec.endpoint, slot)},
            "minReplicas": eks.minimum,
            "maxReplicas": eks.maximum,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": eks.cpu_target},
                    },
                }
            ],
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0},
                "scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
                },
            },
        },
    }


def _policy(spec: ServingSpec) -> Manifest:
    eks = eks_of(spec)
    dns = [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        },
        *_blocks(_DNS if eks.dns_cidrs is None else eks.dns_cidrs),
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(spec, spec.endpoint),
        "spec": {
            "podSelector": {"matchLabels": {SERVICE_LABEL: spec.endpoint}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": _blocks(eks.ingress_cidrs), "ports": [_port(PORT)]}],
            "egress": [
                {"to": dns, "ports": [_port(53, "UDP"), _port(53)]},
                {"to": _blocks([_POD_IDENTITY_AGENT]), "ports": [_port(80)]},
                *([{"to": _blocks(eks.egress_cidrs), "ports": [_port(443)]}] if eks.egress_cidrs else []),
            ],
        },
    }


def _blocks(cidrs: Any) -> list[dict[str, object]]:
    return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]


def _port(number: int, protocol: str = "TCP") -> dict[str, object]:
    return {"port": number, "protocol": protocol}


def _read_version(annotations: Mapping[str, str]) -> SlotVersion | None:
    fields = {name: annotations.get(f"{ANNOTATION_PREFIX}{name}") for name in VERSION_FIELDS}
    environment = annotations.get(f"{ANNOTATION_PREFIX}environment", "{}")
    try:
        values = json.loads(environment)
    except (ValueError, RecursionError):
        return None
    if any(value is None for value in fields.values()) or not isinstance(values, dict):
        return None
    return SlotVersion(
        **{name: str(value) for name, value in fields.items()},
        environment={name: str(value) for name, value in values.items()},
    )


def _reason(conditions: list[Mapping[str, Any]]) -> str:
    found = {condition.get("type"): condition for condition in conditions}
    failed = found.get("ReplicaFailure", {})
    stuck = found.get("Progressing", {})
    if failed.get("status") == "True":
        return str(failed.get("message", "pods cannot be created"))
    if stuck.get("status") == "False":
        return str(stuck.get("message", "the rollout of the pods does not progress"))
    return ""
