"""Bring manifests to a cluster: checked, tried without effect, then applied one by one; what stopped half-way is named.

An autoscaler sets ``replicas`` through a subresource and then owns the field, so that applying another number would be a conflict.
A Deployment's number of pods is therefore set as the autoscaler does it, before the manifest that says the same is applied.

See: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlops_runtime.eks.cluster_client import Cluster, ClusterError
from mlops_runtime.eks.kubernetes_objects import FIELD_MANAGER, MANAGED_LABEL, Manifest, Ref, ref
from mlops_runtime.eks.manifest_checks import problems
from mlops_runtime.eks.slot_limits import ManifestError

# what sends traffic goes first, what others stand on last
_DELETE_ORDER = (
    "TargetGroupBinding",
    "HorizontalPodAutoscaler",
    "Deployment",
    "PodDisruptionBudget",
    "Service",
    "NetworkPolicy",
    "ServiceAccount",
    "RoleBinding",
    "Role",
    "LimitRange",
    "ResourceQuota",
    "ConfigMap",
    "Namespace",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a call did, in order.

    Args:
        objects: What was applied.
        removed: Autoscalers of Deployments that rest, which were there.
    """

    objects: tuple[Ref, ...]
    removed: tuple[Ref, ...] = ()


class HalfAppliedError(ClusterError):
    """The cluster was changed in part; the next call with the same arguments finishes the work.

    Args:
        cause: Why the work stopped.
        done: What was done.
        failed: At what it stopped.
        left: What was not begun.
    """

    def __init__(self, cause: ClusterError, *, done: Sequence[Ref], failed: Ref, left: Sequence[Ref]) -> None:
        self.done, self.failed, self.left = tuple(done), failed, tuple(left)
        rest = ", ".join(map(str, (failed, *left)))
        super().__init__(
            f"{cause}. {', '.join(map(str, done))} changed, {rest} did not; fix the error and retry: "
            "apply is idempotent",
            what="stopped half-way",
            status=cause.status,
            reason=cause.reason,
        )


def apply(cluster: Cluster, manifests: Sequence[Manifest]) -> Applied:
    """Apply manifests in their order: checks, then a dry run of all, then each.

    Objects of a namespace that does not exist yet can be validated only after it does: namespaces come first, by themselves.

    Raises:
        ManifestError: If the checks find problems; the cluster was not asked.
        ConflictError: If a field has another manager; nothing was changed.
        ClusterError: If the cluster refuses one; nothing was changed.
        HalfAppliedError: If it refuses one in the middle all the same.
    """
    found = problems(manifests)
    if found:
        raise ManifestError(found)
    new = [m for m in manifests if m["kind"] == "Namespace" and cluster.get(ref(m)) is None]
    rest = [m for m in manifests if m not in new]
    work = _Work(cluster, manifests)
    for wave in (new, rest):
        work.wave(wave)
    return Applied(objects=tuple(work.objects), removed=tuple(work.removed))


def remove(cluster: Cluster, references: Iterable[Ref]) -> tuple[Ref, ...]:
    """Delete objects of ours, what sends traffic first, and return those that were there.

    Raises:
        ClusterError: If one is not ours by its label ``app.kubernetes.io/managed-by``, or cannot be deleted; nothing was changed.
        HalfAppliedError: If one cannot be deleted after others were.
    """
    ordered = sorted(references, key=lambda reference: _DELETE_ORDER.index(reference.kind))
    there = [(reference, live) for reference in ordered if (live := cluster.get(reference)) is not None]
    for reference, live in there:
        _require_ours(reference, live)
    done: list[Ref] = []
    for position, (reference, live) in enumerate(there):
        try:
            cluster.delete(reference, uid=live["metadata"].get("uid"))
        except ClusterError as error:
            if not done:
                raise
            left = [other for other, _ in there[position + 1 :]]
            raise HalfAppliedError(error, done=done, failed=reference, left=left) from error
        done.append(reference)
    return tuple(done)


class _Work:
    def __init__(self, cluster: Cluster, manifests: Sequence[Manifest]) -> None:
        self._cluster = cluster
        self.objects: list[Ref] = []
        self.removed: list[Ref] = []
        self._changed: list[Ref] = []
        self._scalers = {_scaled(m): m for m in manifests if m["kind"] == "HorizontalPodAutoscaler"}

    def wave(self, manifests: Sequence[Manifest]) -> None:
        current: Manifest = {}
        try:
            for step in (self._try, self._apply):
                for current in manifests:
                    step(current)
        except ClusterError as error:
            if not self._changed:
                raise
            left = [ref(m) for m in manifests if m is not current and ref(m) not in self.objects]
            raise HalfAppliedError(error, done=self._changed, failed=ref(current), left=left) from error

    def _try(self, manifest: Manifest) -> None:
        if manifest["kind"] == "Deployment":
            # the number of pods is set in another way, where nothing can be in conflict
            manifest = {**manifest, "spec": {k: v for k, v in manifest["spec"].items() if k != "replicas"}}
        self._cluster.apply(manifest, dry_run=True)

    def _apply(self, manifest: Manifest) -> None:
        reference = ref(manifest)
        if manifest["kind"] == "Deployment" and "replicas" in manifest["spec"]:
            self._rest(reference, manifest["spec"]["replicas"])
        live = self._cluster.apply(manifest)
        self.objects.append(reference)
        self._note(reference)
        scaler = self._scalers.get(_scaled_ref(reference)) if manifest["kind"] == "Deployment" else None
        # an autoscaler leaves a Deployment alone that has no pods, and a new one has one
        if scaler is not None and live["spec"].get("replicas", 1) < scaler["spec"]["minReplicas"]:
            self._cluster.scale(reference, scaler["spec"]["minReplicas"])

    def _note(self, *references: Ref) -> None:
        self._changed += [reference for reference in references if reference not in self._changed]

    def _rest(self, deployment: Ref, replicas: int) -> None:
        live = self._cluster.get(deployment)
        scaler = Ref(
            api_version="autoscaling/v2",
            kind="HorizontalPodAutoscaler",
            namespace=deployment.namespace,
            name=deployment.name,
        )
        if _scaled_ref(deployment) not in self._scalers:
            self.removed += remove(self._cluster, [scaler])
            self._note(*self.removed)
        if live is not None and live["spec"].get("replicas", 1) != replicas:
            self._cluster.scale(deployment, replicas)
            self._note(deployment)


def _scaled(scaler: Manifest) -> tuple[str | None, str]:
    return scaler["metadata"].get("namespace"), scaler["spec"]["scaleTargetRef"]["name"]


def _scaled_ref(deployment: Ref) -> tuple[str | None, str]:
    return deployment.namespace, deployment.name


def _require_ours(reference: Ref, live: Manifest) -> None:
    label = live["metadata"].get("labels", {}).get(MANAGED_LABEL)
    if label != FIELD_MANAGER:
        raise ClusterError(
            f"it is not ours to delete: its label {MANAGED_LABEL} must be {FIELD_MANAGER!r}, got {label!r}; delete it by hand, or "
            "choose another name for the service",
            what=f"delete {reference}",
        )
