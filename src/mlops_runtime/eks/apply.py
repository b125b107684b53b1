"""Bring manifests to a cluster: checked, tried without effect, then applied one by one; what stopped half-way is named."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlops_runtime.eks.client import Cluster
from mlops_runtime.eks.cluster_errors import ClusterError
from mlops_runtime.eks.names import Manifest, Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a call applied, in order."""

    objects: tuple[Ref, ...]


class HalfAppliedError(ClusterError):
    """Some manifests were applied and one was not; the next call finishes the work."""


def apply(cluster: Cluster, manifests: Sequence[Manifest]) -> Applied:
    """Apply manifests: checks, then a dry run of all, then each.

    Raises:
        ManifestError: If the checks find problems; nothing was asked of the cluster.
        ConflictError: If somebody else manages a field; nothing was changed.
        ClusterError: If the cluster refuses one; nothing was changed.
        HalfAppliedError: If it refuses one in the middle all the same.
    """
    raise NotImplementedError


def remove(cluster: Cluster, references: Iterable[Ref]) -> tuple[Ref, ...]:
    """Delete objects that are ours, in the order that lets calls end: what sends traffic first. Returns those that were there."""
    raise NotImplementedError
