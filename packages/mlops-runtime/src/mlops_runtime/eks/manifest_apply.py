"""Apply manifests to a cluster: checks, a dry run of all, then each in order; partial changes are reported.

An autoscaler sets ``replicas`` with the scale subresource and then owns the field, so applying another number would be a conflict.
The replicas of a Deployment are therefore also set with the scale subresource, before its manifest with the same number is applied.

See: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlops_runtime.eks.cluster_client import Cluster, ClusterError
from mlops_runtime.eks.kubernetes_objects import FIELD_MANAGER, MANAGED_LABEL, Manifest, Ref, ref
from mlops_runtime.eks.manifest_checks import problems
from mlops_runtime.eks.slot_limits import ManifestError

# objects that route traffic first, objects that others depend on last
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
    """Changes of a call, in order."""

    objects: tuple[Ref, ...]  # applied objects
    removed: tuple[Ref, ...] = ()  # deleted autoscalers of idle Deployments


class HalfAppliedError(ClusterError):
    """The cluster was changed partially; another call with the same arguments completes the work.

    Args:
        cause: The error.
        done: Changed objects.
        failed: The object whose change failed.
        left: Unchanged objects.
    """

    def __init__(self, cause: ClusterError, *, done: Sequence[Ref], failed: Ref, left: Sequence[Ref]) -> None:
        self.done, self.failed, self.left = tuple(done), failed, tuple(left)
        rest = ", ".join(map(str, (failed, *left)))
        super().__init__(
            f"{cause}. {', '.join(map(str, done))} changed, {rest} did not; fix the error and retry: "
            "apply is idempotent",
            what="partially applied",
            status=cause.status,
            reason=cause.reason,
        )


def apply(cluster: Cluster, manifests: Sequence[Manifest]) -> Applied:
    """Apply manifests in order: checks, then a dry run of all, then each.

    Objects can only be validated once their namespace exists, so new namespaces are applied first.

    Raises:
        ManifestError: If the checks find problems; the cluster was not called.
        ConflictError: If a field has another field manager; nothing was changed.
        ClusterError: If the cluster refuses an object; nothing was changed.
        HalfAppliedError: If the cluster refuses an object after others were changed.
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
    """Delete our objects, those that route traffic first, and return the ones that existed.

    Raises:
        ClusterError: If the label ``app.kubernetes.io/managed-by`` of an object is not ours, or the first deletion fails; nothing
            was changed.
        HalfAppliedError: If an object cannot be deleted after others were.
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
            # replicas are set with the scale subresource, which has no conflicts
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
        # an autoscaler ignores a Deployment without pods, and a new Deployment has one
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
            f"it was not created by this library: its label {MANAGED_LABEL} must be {FIELD_MANAGER!r}, got {label!r}; delete it by "
            "hand, or choose another name for the service",
            what=f"delete {reference}",
        )
