"""Slot operations of the Deploy machine: apply the candidate, observe whether it is ready, and idle a slot without traffic.

All operations are idempotent and never change a slot with traffic. Changes are only made for the execution that owns the lock,
since a call of a stopped execution may arrive after another execution has started.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.rollout import Outcome, ServingSpec
from mlops_runtime.contracts.serving import SlotVersion
from mlops_runtime.eks.kubernetes_objects import Manifest, Ref, deployment_ref, scaler_ref
from mlops_runtime.eks.live_slots import ALL, Slots, other
from mlops_runtime.eks.manifest_apply import apply, remove
from mlops_runtime.eks.manifests import read_slot, slot_manifests
from mlops_runtime.eks.pod import eks_of
from mlops_runtime.eks.slot_reader import SlotReader
from mlops_runtime.rollout.preflight import verified_spec
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class SlotError(RuntimeError):
    """A requested change of a slot is not allowed; the message has the reason."""


class NotHolderError(SlotError):
    """The calling execution does not own the service's lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotKeeper:
    """The two slots of one service."""

    s3: "S3Client"
    bucket: str  # bucket of the serving specs; specs elsewhere are not read
    table: RolloutTable  # the service's row, with the owner of the lock
    reader: SlotReader  # reader of the slots' state

    def handle(self, event: Mapping[str, Any]) -> dict[str, object]:
        """Handle ``{"action": "apply" | "observe" | "idle", "plan": plan, "outcome": "...", "execution": ARN, "now": ISO}``.

        The recorded outcome is only used for ``idle``.

        Raises:
            SlotError: If the action is unknown, or the slot has traffic.
            NotHolderError: If the execution does not own the lock, for ``apply`` and ``idle``.
            ClusterError: If the cluster refuses a request.
        """
        match event["action"]:
            case "apply":
                self._check_holder(event["execution"])
                return self.apply(event["plan"])
            case "observe":
                return self.observe(event["plan"])
            case "idle":
                self._check_holder(event["execution"])
                return self.idle(event["plan"], outcome=event["outcome"])
        raise SlotError(f"action must be apply, observe or idle, got {event['action']!r}")

    def apply(self, plan: Mapping[str, Any]) -> dict[str, object]:
        """Apply the candidate to the slot without traffic, with the plan's number of pods.

        Returns:
            ``{"slot", "objects"}``: the number of applied objects.
        """
        eks = plan["eks"]
        weight = self.reader.weights()[eks["slot"]]
        if weight > 0:
            raise SlotError(f"slot {eks['slot']} has {weight} % of the traffic, so its pods must not be replaced")
        spec = _with_pods(self._spec(eks["service"]), eks["pods"])
        version = from_dict(SlotVersion, eks["version"])
        applied = apply(self.reader.connect(), slot_manifests(spec, eks["slot"], version))
        return {"slot": eks["slot"], "objects": len(applied.objects)}

    def observe(self, plan: Mapping[str, Any]) -> dict[str, object]:
        """Check whether the slot runs the candidate.

        Returns:
            ``{"is_ready", "is_failed", "pods", "reason"}``: whether at least ``pods`` of its pods are ready, and whether Kubernetes
            reports that its rollout does not progress.
        """
        eks = plan["eks"]
        deployment = self.reader.connect().get(self._deployment(eks["slot"]))
        state = read_slot(deployment, eks["slot"])
        runs = None if state.version is None else state.version.config
        is_ready = runs == plan["config_name"] and state.ready >= eks["pods"]
        reason = f"{state.ready} of {eks['pods']} pods are ready"
        if runs != plan["config_name"]:
            reason = f"the slot runs {runs or 'nothing'}, not {plan['config_name']}"
        elif state.reason:
            reason += f": {state.reason}"
        return {
            "is_ready": is_ready,
            "is_failed": not is_ready and _is_given_up(deployment),
            "pods": eks["pods"],
            "reason": "" if is_ready else reason[:600],
        }

    def idle(self, plan: Mapping[str, Any], *, outcome: str) -> dict[str, object]:
        """Scale the slot without traffic to zero, and restore the autoscaler's bounds of the serving slot.

        The previous version keeps its pods if the traffic could not be returned to it; the next execution does that.

        Returns:
            ``{"slot"}``: the idle slot, or ``None``.
        """
        slots = self.reader.read()
        slot = other(slots.heaviest)
        if not slots.is_at_rest or (slot == plan["eks"]["live_slot"] and outcome != Outcome.PROMOTED):
            return {"slot": None}
        cluster = self.reader.connect()
        # an autoscaler would scale it up again
        remove(cluster, [scaler_ref(namespace=self.reader.namespace, endpoint=self.reader.endpoint, slot=slot)])
        if slots.states[slot].desired > 0:
            cluster.scale(self._deployment(slot), 0)
        scaler = self._scaler(slots, plan["live"] or {})
        if scaler is not None:
            cluster.apply(scaler)
        return {"slot": slot}

    def _check_holder(self, execution: str) -> None:
        owner = self.table.read().owner
        if owner != execution:
            raise NotHolderError(
                f"slots are only changed for the execution that owns the lock, {owner or 'none'}, got {execution}; nothing was "
                "changed, start the Deploy machine again"
            )

    def _scaler(self, slots: Slots, live: Mapping[str, Any]) -> Manifest | None:
        """Return the autoscaler of the live slot with its spec's bounds; as candidate, its minimum was the previous slot's pods."""
        slot = slots.running(live.get("config"))
        version = None if slot is None else slots.states[slot].version
        if slot is None or version is None or slots.weights[slot] != ALL or not live.get("spec_uri"):
            return None
        made = slot_manifests(self._spec(live["spec_uri"]), slot, version)
        return next(manifest for manifest in made if manifest["kind"] == "HorizontalPodAutoscaler")

    def _spec(self, uri: str) -> ServingSpec:
        key = uri.removeprefix(f"s3://{self.bucket}/")
        return verified_spec(uri, self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def _deployment(self, slot: str) -> Ref:
        return deployment_ref(namespace=self.reader.namespace, endpoint=self.reader.endpoint, slot=slot)


def _with_pods(spec: ServingSpec, pods: int) -> ServingSpec:
    return replace(spec, eks=replace(eks_of(spec), minimum=pods))


def _is_given_up(deployment: Manifest | None) -> bool:
    """Return whether Kubernetes reports that the newest revision does not progress."""
    # https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#failed-deployment
    if deployment is None:
        return False
    status = deployment.get("status") or {}
    if int(status.get("observedGeneration", 0)) < int(deployment["metadata"].get("generation", 1)):
        return False
    return any(
        condition.get("type") == "Progressing" and condition.get("status") == "False"
        for condition in status.get("conditions") or []
    )
