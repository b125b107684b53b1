"""What a Deployment's controller does next, and what it says of it: pure functions over its pods.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Seen:
    """A pod as the controller sees it: its template, whether it is ready, and whether it was told to end."""

    name: str
    template: str
    is_ready: bool
    is_going: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What to do: how many pods of the newest template to start, and which to end."""

    start: int = 0
    end: tuple[str, ...] = ()


def template_hash(deployment: Mapping[str, Any]) -> str:
    """Return the hash by which pods of one template are known (label ``pod-template-hash``)."""
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def bounds(deployment: Mapping[str, Any]) -> tuple[int, int]:
    """Return by how many pods a rollout may exceed and fall below what is wanted.

    See: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment
    ("calculated from percentage by rounding up" for the surge, "by rounding down" for the unavailable)
    """
    strategy, wanted = deployment["spec"]["strategy"], int(deployment["spec"]["replicas"])
    if strategy.get("type") == "Recreate":
        return 0, wanted
    rolling = strategy.get("rollingUpdate") or {}

    def of(name: str, rounded: Any) -> int:
        value = rolling.get(name, "25%")
        return int(rounded(wanted * int(value[:-1]) / 100)) if isinstance(value, str) else int(value)

    # claim: rolling-update-keeps-its-bounds
    surge, unavailable = of("maxSurge", math.ceil), of("maxUnavailable", math.floor)
    return surge, max(unavailable, 1) if surge == 0 else unavailable


def step(deployment: Mapping[str, Any], pods: Sequence[Seen]) -> Step:
    """Return what brings a Deployment closer to what is wanted of it.

    Args:
        deployment: The Deployment.
        pods: Its pods, oldest first.
    """
    wanted, current = int(deployment["spec"]["replicas"]), template_hash(deployment)
    surge, unavailable = bounds(deployment)
    living = [pod for pod in pods if not pod.is_going]
    new = [pod for pod in living if pod.template == current]
    old = [pod for pod in living if pod.template != current]
    if deployment["spec"]["strategy"].get("type") == "Recreate" and any(pod.template != current for pod in pods):
        return Step(end=tuple(pod.name for pod in old))
    # who is not ready goes first, then the youngest
    youngest = list(reversed(new))
    surplus = sorted(youngest, key=lambda pod: pod.is_ready)[: max(len(new) - wanted, 0)]
    spare = sum(pod.is_ready for pod in living if pod not in surplus) - (wanted - unavailable)
    leaving = [pod for pod in old if not pod.is_ready]
    leaving += [pod for pod in old if pod.is_ready][: max(spare, 0)]
    room = wanted + surge - len(new) - len(old)
    return Step(start=max(0, min(wanted - len(new), room)), end=tuple(pod.name for pod in (*surplus, *leaving)))


def status(
    deployment: Mapping[str, Any], pods: Sequence[Seen], *, failure: str | None, is_late: bool
) -> dict[str, Any]:
    """Return a Deployment's status; counts of zero are left out, as Kubernetes leaves them out.

    Args:
        deployment: The Deployment.
        pods: Its pods.
        failure: Why no pod can be made, if none can.
        is_late: Whether ``progressDeadlineSeconds`` have passed without progress.
    """
    wanted, current = int(deployment["spec"]["replicas"]), template_hash(deployment)
    living = [pod for pod in pods if not pod.is_going]
    updated = [pod for pod in living if pod.template == current]
    ready = sum(pod.is_ready for pod in living)
    _, unavailable = bounds(deployment)
    named = f"{deployment['metadata']['name']}-{current}"
    is_available, is_done = ready >= wanted - unavailable, len(updated) == wanted == len(living) and ready == wanted
    progressing = ("True", "NewReplicaSetAvailable", f'ReplicaSet "{named}" has successfully progressed.')
    if not is_done:
        progressing = ("True", "ReplicaSetUpdated", f'ReplicaSet "{named}" is progressing.')
        # claim: progress-deadline-is-a-condition
        if is_late:
            progressing = ("False", "ProgressDeadlineExceeded", f'ReplicaSet "{named}" has timed out progressing.')
    available = (
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if is_available
        else ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    )
    rows = [("Available", *available), ("Progressing", *progressing)]
    if failure is not None:
        rows.append(("ReplicaFailure", "True", "FailedCreate", f'pods "{named}-" is forbidden: {failure}'))
    counts = {
        "replicas": len(living),
        "updatedReplicas": len(updated),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(max(wanted, len(living)) - ready, 0),
    }
    conditions = [dict(zip(("type", "status", "reason", "message"), row, strict=True)) for row in rows]
    shown: dict[str, Any] = {name: count for name, count in counts.items() if count}
    return {"observedGeneration": deployment["metadata"]["generation"], "conditions": conditions, **shown}
