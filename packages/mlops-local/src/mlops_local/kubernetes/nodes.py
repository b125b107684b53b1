"""Nodes of a cluster, and the placement of pods: by selector, required node affinity and spread.

A cluster has one node per architecture and zone: in the zones of its subnets, or, if these are not this cloud's, in three
zones of the Region and each zone that a pod requires by name. Nodes are records without a size; every pod is a process of this
machine. Taints, preferences and pod affinity are ignored. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_local import settings
from mlops_local.load_balancer import zones

ZONE, ARCHITECTURE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/arch", "kubernetes.io/hostname"
_ARCHITECTURES = ("amd64", "arm64")
_LETTERS = "abc"


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its name and labels."""

    name: str
    labels: Mapping[str, str]

    @property
    def zone(self) -> str:
        """The node's Availability Zone."""
        return self.labels[ZONE]

    def manifest(self) -> dict[str, Any]:
        """Return the node as the API returns it."""
        conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
        return {"metadata": {"name": self.name, "labels": dict(self.labels)}, "status": {"conditions": conditions}}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A placed pod: its labels and its node's name."""

    labels: Mapping[str, str]
    node: str


class Pool:
    """The nodes of one cluster."""

    def __init__(self, subnets: Sequence[str]) -> None:
        known = {zones.of_subnet(subnet) for subnet in subnets} - {zones.ANY}
        self._is_open = not known
        self.nodes: list[Node] = []
        self._add(known or {f"{settings.region}{letter}" for letter in _LETTERS})

    def grow(self, spec: Mapping[str, Any]) -> list[Node]:
        """Add nodes in zones that a pod requires by name, if the cluster's zones are unknown; return the new nodes."""
        there = {node.zone for node in self.nodes}
        return self._add(_required_zones(spec) - there) if self._is_open else []

    def _add(self, names: Iterable[str]) -> list[Node]:
        made = [_node(zone, architecture) for zone in sorted(names) for architecture in _ARCHITECTURES]
        self.nodes += made
        return made


def _required_zones(spec: Mapping[str, Any]) -> set[str]:
    return {
        str(zone)
        for term in _terms(spec) or []
        for expression in term.get("matchExpressions") or []
        if expression["key"] == ZONE and expression["operator"] == "In"
        for zone in expression.get("values") or []
    }


def _terms(spec: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return the terms of a pod's required node affinity; ``None`` without one."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else list(required.get("nodeSelectorTerms") or [])


def _node(zone: str, architecture: str) -> Node:
    name = f"node-{zone}-{architecture}"
    labels = {ZONE: zone, ARCHITECTURE: architecture, HOST: name, "kubernetes.io/os": "linux"}
    return Node(name, {**labels, "topology.kubernetes.io/region": settings.region})


def place(
    spec: Mapping[str, Any], labels: Mapping[str, str], nodes: Sequence[Node], pods: Sequence[Neighbour]
) -> Node | None:
    """Return the node for a pod; ``None`` if no node fits.

    Of the fitting nodes, the one in the zone with the fewest pods of the same labels is taken, then the one with the fewest itself.
    Kubernetes breaks ties at random; here the last zone by name wins, so that a pod without affinity reaches a zone that a template
    forgot.
    """
    # claim: required-node-affinity-decides-the-zone
    fitting = [node for node in nodes if _fits(spec, node)]
    alike = [pod.node for pod in pods if pod.labels == labels]
    in_zone = {node.name: node.zone for node in nodes}

    # claim: pods-spread-over-zones
    def crowd(node: Node) -> tuple[int, int]:
        return sum(in_zone.get(name) == node.zone for name in alike), alike.count(node.name)

    return min(sorted(fitting, key=lambda node: node.name, reverse=True), key=crowd, default=None)


def _fits(spec: Mapping[str, Any], node: Node) -> bool:
    selector = spec.get("nodeSelector") or {}
    terms = _terms(spec)
    is_selected = all(node.labels.get(key) == value for key, value in selector.items())
    # terms are alternatives; all expressions of a term must match
    return is_selected and (
        terms is None
        or any(
            all(_matches(expression, node.labels) for expression in term.get("matchExpressions") or [])
            for term in terms
            if term.get("matchExpressions")
        )
    )


def _matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False  # Gt and Lt compare numbers; no label here is numeric


def unplaced(nodes: Sequence[Node]) -> str:
    """Return why a pod has no node, in the scheduler's wording."""
    return f"0/{len(nodes)} nodes are available: {len(nodes)} node(s) didn't match Pod's node affinity/selector."
