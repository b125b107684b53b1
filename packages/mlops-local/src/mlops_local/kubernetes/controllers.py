"""The controllers of one cluster, on one thread: Deployments, pod admission, autoscalers' bounds, target group bindings."""

import hashlib
import json
import logging
import math
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import eks

from mlops_local import clock, settings
from mlops_local.kubernetes import addons, nodes, object_kinds, pod_identity
from mlops_local.kubernetes.cluster_objects import Objects, Write
from mlops_local.kubernetes.nodes import Neighbour, Node, Pool
from mlops_local.kubernetes.object_kinds import StatusError
from mlops_local.kubernetes.pods import Pod
from mlops_local.load_balancer import target_health
from mlops_local.load_balancer.routing import Address

_SUFFIXES = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_ENFORCE = "pod-security.kubernetes.io/enforce"

LOGGER = logging.getLogger(__name__)
AUTO_MODE = object_kinds.BY_NAME["eks.amazonaws.com/v1", "TargetGroupBinding"]
CONTROLLER = object_kinds.BY_NAME["elbv2.k8s.aws/v1beta1", "TargetGroupBinding"]
SERVICE = object_kinds.BY_NAME["v1", "Service"]
# tag with which Auto Mode's role may change a target group that it did not create
# https://docs.aws.amazon.com/eks/latest/userguide/auto-elb-example.html
TAG = "eks:eks-cluster-name"
GATES = ("eks.amazonaws.com/pod-readiness-gate-inject", "elbv2.k8s.aws/pod-readiness-gate-inject")

DEPLOYMENT, POD = object_kinds.BY_NAME["apps/v1", "Deployment"], object_kinds.BY_NAME["v1", "Pod"]
NODE = object_kinds.BY_NAME["v1", "Node"]
NAMESPACE, QUOTA, ACCOUNT = (
    object_kinds.BY_NAME["v1", name] for name in ("Namespace", "ResourceQuota", "ServiceAccount")
)
AUTOSCALER = object_kinds.BY_NAME["autoscaling/v2", "HorizontalPodAutoscaler"]
_LOOK = 1.0  # real seconds
# field manager of an autoscaled Deployment's scale: the autoscaler owns its fields, as in a real cluster
_SCALER = Write(manager="kube-controller-manager", subresource="scale")
_NO_METRICS = (
    "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: "
    "unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
)
_END = 10.0  # real seconds that pods get to end with their cluster


@dataclass(frozen=True, slots=True)
class Seen:
    """A pod's state for the Deployment controller: template hash, readiness, and whether it is terminating."""

    name: str
    template: str
    is_ready: bool
    is_going: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """The next action: number of pods of the newest template to start, and names of pods to end."""

    start: int = 0
    end: tuple[str, ...] = ()


def template_hash(deployment: Mapping[str, Any]) -> str:
    """Return the hash of a pod template (label ``pod-template-hash``)."""
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def bounds(deployment: Mapping[str, Any]) -> tuple[int, int]:
    """Return ``maxSurge`` and ``maxUnavailable`` of a rollout, as numbers of pods."""
    # https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment
    # ("calculated from percentage by rounding up" for the surge, "by rounding down" for the unavailable)
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


def next_step(deployment: Mapping[str, Any], pods: Sequence[Seen]) -> Step:
    """Return the next step towards a Deployment's desired state."""
    wanted, current = int(deployment["spec"]["replicas"]), template_hash(deployment)
    surge, unavailable = bounds(deployment)
    living = [pod for pod in pods if not pod.is_going]
    new = [pod for pod in living if pod.template == current]
    old = [pod for pod in living if pod.template != current]
    if deployment["spec"]["strategy"].get("type") == "Recreate" and any(pod.template != current for pod in pods):
        return Step(end=tuple(pod.name for pod in old))
    # pods that are not ready first, then the youngest
    youngest = list(reversed(new))
    surplus = sorted(youngest, key=lambda pod: pod.is_ready)[: max(len(new) - wanted, 0)]
    spare = sum(pod.is_ready for pod in living if pod not in surplus) - (wanted - unavailable)
    leaving = [pod for pod in old if not pod.is_ready]
    leaving += [pod for pod in old if pod.is_ready][: max(spare, 0)]
    room = wanted + surge - len(new) - len(old)
    return Step(start=max(0, min(wanted - len(new), room)), end=tuple(pod.name for pod in (*surplus, *leaving)))


def deployment_status(
    deployment: Mapping[str, Any], pods: Sequence[Seen], *, failure: str | None, is_late: bool
) -> dict[str, Any]:
    """Return a Deployment's status; zero counts are omitted, as in Kubernetes.

    Args:
        failure: Why no pod can be created, or ``None``.
        is_late: Whether ``progressDeadlineSeconds`` passed without progress.
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


def quantity(text: str | int | float) -> Decimal:
    """Return the numeric value of a quantity.

    Example:
        >>> quantity("1500m"), quantity("2Gi"), quantity("3")
        (Decimal('1.5'), Decimal('2147483648'), Decimal('3'))
    """
    shown = str(text)
    if shown.endswith("m"):
        return Decimal(shown[:-1]) / 1000
    if shown.endswith("i"):
        return Decimal(shown[:-2]) * Decimal(1024) ** _SUFFIXES["k" if shown[-2] == "K" else shown[-2]]
    if shown[-1] in _SUFFIXES:
        return Decimal(shown[:-1]) * Decimal(1000) ** _SUFFIXES[shown[-1]]
    return Decimal(shown)


def refusal(
    spec: Mapping[str, Any],
    *,
    namespace: Mapping[str, Any],
    accounts: Iterable[str],
    quotas: Iterable[Mapping[str, Any]],
    running: Iterable[Mapping[str, Any]],
) -> str | None:
    """Return why a pod cannot be created, or ``None``."""
    name = namespace["metadata"]["name"]
    account = spec.get("serviceAccountName", "default")
    if account not in set(accounts):
        return f'error looking up service account {name}/{account}: serviceaccount "{account}" not found'
    # claim: restricted-pods-only
    if namespace["metadata"].get("labels", {}).get(_ENFORCE) == "restricted" and (found := violations(spec)):
        return f'violates PodSecurity "restricted:latest": {"; ".join(found)}'
    # claim: quota-refuses-pods
    used = list(running)
    for quota in quotas:
        if problem := _over(quota, [*used, spec], len(used)):
            return f"exceeded quota: {quota['metadata']['name']}, {problem}"
    return None


def violations(spec: Mapping[str, Any]) -> list[str]:
    """Return the violations of the ``restricted`` pod security standard."""
    pod, found = spec.get("securityContext") or {}, []
    if any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        found.append("host namespaces")
    if any("hostPath" in volume for volume in spec.get("volumes") or []):
        found.append("restricted volume types: hostPath")
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        own, name = container.get("securityContext") or {}, container["name"]
        if own.get("privileged"):
            found.append(f'container "{name}" must not set securityContext.privileged=true')
        if own.get("allowPrivilegeEscalation") is not False:
            found.append(f'container "{name}" must set securityContext.allowPrivilegeEscalation=false')
        if "ALL" not in ((own.get("capabilities") or {}).get("drop") or []):
            found.append(f'container "{name}" must set securityContext.capabilities.drop=["ALL"]')
        if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            found.append(f'pod or container "{name}" must set securityContext.runAsNonRoot=true')
        if own.get("runAsUser", pod.get("runAsUser")) == 0:
            found.append(f'container "{name}" must not set runAsUser=0')
        profile = (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type")
        if profile not in {"RuntimeDefault", "Localhost"}:
            found.append(
                f'pod or container "{name}" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
            )
    return found


def _over(quota: Mapping[str, Any], specs: list[Mapping[str, Any]], used: int) -> str | None:
    for name, hard in ((quota.get("spec") or {}).get("hard") or {}).items():
        if name in {"pods", "count/pods"}:
            if used + 1 > quantity(hard):
                return f"requested: {name}=1, used: {name}={used}, limited: {name}={hard}"
            continue
        kind, _, resource = name.partition(".") if "." in name else ("requests", "", name)
        if kind not in {"requests", "limits"} or resource not in {"cpu", "memory"}:
            continue
        amounts = [_amount(spec, kind, resource) for spec in specs]
        if amounts[-1] is None:
            return f"must specify {name} for: {specs[-1]['containers'][0]['name']}"
        if sum(amount or Decimal(0) for amount in amounts) > quantity(hard):
            taken = sum((amount or Decimal(0) for amount in amounts[:-1]), Decimal(0))
            return f"requested: {name}={amounts[-1]}, used: {name}={taken}, limited: {name}={hard}"
    return None


def _amount(spec: Mapping[str, Any], kind: str, resource: str) -> Decimal | None:
    """Return a pod's resource amount: the sum of its containers, or its largest init container."""
    rows = [
        [((container.get("resources") or {}).get(kind) or {}).get(resource) for container in spec.get(group) or []]
        for group in ("containers", "initContainers")
    ]
    mains, inits = ([quantity(value) for value in row if value is not None] for row in rows)
    return None if len(mains) < len(rows[0]) else max([sum(mains, Decimal(0)), *inits])


class Bindings:
    """The target group bindings of one cluster."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._bound: dict[str, dict[Address, str]] = {}
        self._refused: set[str] = set()

    def bind(self, objects: Objects, pods: Sequence[Pod]) -> None:
        """Register the pods that each binding's Service selects as its targets."""
        # claim: binding-owns-its-target-group
        wanted = {}
        for binding in _all(objects):
            arn = binding["spec"].get("targetGroupARN", "")
            if self._may(binding, arn):
                chosen = [
                    pod for pod in pods if pod.is_serving and not pod.is_going and _selects(objects, binding, pod)
                ]
                # the load balancer derives the zone from the subnet of the address, which is the node's
                wanted[arn] = {pod.address: pod.node.zone for pod in chosen if isinstance(pod.node, Node)}
        for arn in self._bound.keys() - wanted.keys():
            target_health.bind(arn, {})
            del self._bound[arn]
        for arn, addresses in wanted.items():
            if self._bound.get(arn) != addresses and target_health.bind(arn, addresses):
                self._bound[arn] = addresses

    def release(self) -> None:
        """Deregister all pods from their target groups."""
        for arn in self._bound:
            target_health.bind(arn, {})
        self._bound.clear()

    def passes_gates(self, objects: Objects, pod: Pod) -> bool:
        """Return whether a pod is healthy in each of its target groups, if its namespace enables readiness gates.

        An unused target never opens the gate: https://github.com/kubernetes-sigs/aws-load-balancer-controller,
        updateTargetHealthPodConditionForPod, and its issue 3753.
        """
        namespace = objects.find(NAMESPACE, "", pod.metadata["namespace"]) or {"metadata": {}}
        labels = namespace["metadata"].get("labels", {})
        if not any(labels.get(name) in {"enabled", "true"} for name in GATES):
            return True
        arns = [b["spec"].get("targetGroupARN", "") for b in _all(objects) if _selects(objects, b, pod)]
        # claim: readiness-gate-opens-for-healthy-targets-only
        return all(target_health.state(arn, pod.address) == "healthy" for arn in arns)

    def _may(self, binding: Mapping[str, Any], arn: str) -> bool:
        # claim: auto-mode-changes-tagged-target-groups
        if binding["apiVersion"] != AUTO_MODE.api_version or target_health.tags(arn).get(TAG) == self._cluster:
            self._refused.discard(arn)
            return True
        if arn not in self._refused:
            self._refused.add(arn)
            LOGGER.warning(
                "target group binding %s: Auto Mode may change target groups that carry the tag %s=%s; %s does not",
                binding["metadata"]["name"], TAG, self._cluster, arn or "no ARN",
            )  # fmt: skip
        return False


def _all(objects: Objects) -> list[dict[str, Any]]:
    return [*objects.list(AUTO_MODE), *objects.list(CONTROLLER)]


def _selects(objects: Objects, binding: Mapping[str, Any], pod: Pod) -> bool:
    namespace = binding["metadata"]["namespace"]
    service = objects.find(SERVICE, namespace, binding["spec"]["serviceRef"]["name"])
    selector = ((service or {}).get("spec") or {}).get("selector") or {}
    is_ours = bool(selector) and pod.metadata["namespace"] == namespace
    return is_ours and selector.items() <= pod.metadata["labels"].items()


_Key = tuple[str, str, str]  # namespace, name and uid: a Deployment that is created again does not own the earlier pods


def _key(deployment: Mapping[str, Any]) -> _Key:
    metadata = deployment["metadata"]
    return metadata["namespace"], metadata["name"], metadata["uid"]


class Controllers:
    """The controllers of one cluster."""

    def __init__(self, cluster: str, arn: str, pool: Pool) -> None:
        self._cluster, self._arn, self._pool = cluster, arn, pool
        self._wake, self._stopped = threading.Event(), False
        self._pods: dict[_Key, dict[str, Pod]] = {}
        self._progress: dict[_Key, tuple[object, float]] = {}
        self._bindings = Bindings(cluster)
        self._objects: Objects

    def start(self, objects: Objects) -> None:
        """Start the controllers."""
        self._objects = objects
        self._show(self._pool.nodes)
        target_health.watch(self.wake)
        threading.Thread(target=self._run, name=f"controllers of {self._cluster}", daemon=True).start()

    def stop(self) -> None:
        """End all pods and the controllers."""
        self._stopped = True
        everyone = [pod for pods in list(self._pods.values()) for pod in list(pods.values())]
        for pod in everyone:
            pod.released.set()
            pod.end()
        self.wake()
        for _ in range(int(_END / 0.05)):
            if all(pod.has_ended for pod in everyone):
                break
            threading.Event().wait(0.05)
        self._bindings.release()

    def wake(self) -> None:
        """Trigger a reconciliation."""
        self._wake.set()

    def log(self, namespace: str, name: str) -> str:
        """Return the log of a pod's containers."""
        found = (pods.get(name) for (where, *_), pods in list(self._pods.items()) if where == namespace)
        return next((pod.log() for pod in found if pod is not None), "")

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods for the cloud's status."""
        return [
            {"name": pod.name, "port": pod.port, "state": pod.reason, "ready": pod.is_serving, "restarts": pod.restarts}
            for pods in list(self._pods.values())
            for pod in list(pods.values())
        ]

    def _run(self) -> None:
        with request_scope(settings.account, settings.region):
            while not self._stopped:
                self._wake.wait(_LOOK)
                self._wake.clear()
                try:
                    self._reconcile()
                except Exception:
                    LOGGER.exception("controllers of %s failed", self._cluster)

    def _reconcile(self) -> None:
        self._scale()
        found = {_key(deployment): deployment for deployment in self._objects.list(DEPLOYMENT)}
        for key in [key for key in self._pods if key not in found]:
            self._end(key, list(self._pods[key]))  # deleted with their Deployment
            self._collect(key)
            if not self._pods[key]:
                del self._pods[key]
                self._progress.pop(key, None)
        for key, deployment in found.items():
            self._deploy(key, deployment)
        everyone = [pod for pods in self._pods.values() for pod in pods.values()]
        self._bindings.bind(self._objects, everyone)
        for pod in everyone:
            if pod.is_going:
                pod.released.set()  # it is in no target group any more

    def _scale(self) -> None:
        """Keep Deployments within their autoscalers' bounds; zero replicas remain zero, as in Kubernetes."""
        # https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#implicit-maintenance-mode-deactivation
        # CPU is not measured: only the bounds have an effect.
        for scaler in self._objects.list(AUTOSCALER):
            spec, where = scaler["spec"], scaler["metadata"]["namespace"]
            name = spec["scaleTargetRef"]["name"]
            target = self._objects.find(DEPLOYMENT, where, name)
            replicas = target["spec"]["replicas"] if target else 0
            # claim: autoscaler-leaves-zero-alone
            wanted = min(max(replicas, int(spec.get("minReplicas", 1))), int(spec["maxReplicas"])) if replicas else 0
            if wanted != replicas:
                self._set_replicas(where, name, wanted)
            condition = self._scaling(replicas)
            status = {"currentReplicas": replicas, "desiredReplicas": wanted, "conditions": [condition]}
            self._objects.put_status(AUTOSCALER, where, scaler["metadata"]["name"], status)

    def _scaling(self, replicas: int) -> dict[str, str]:
        """Return the autoscaler's ``ScalingActive`` condition: it needs pods and the metrics API."""
        # claim: autoscaler-without-metrics-keeps-its-minimum
        if not replicas:
            return {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"}
        if f"{self._cluster}/{addons.METRICS}" not in eks._addons:
            return {
                "type": "ScalingActive",
                "status": "False",
                "reason": "FailedGetResourceMetric",
                "message": _NO_METRICS,
            }
        return {"type": "ScalingActive", "status": "True", "reason": "OnlyBoundsInTheEmbeddedCloud"}

    def _set_replicas(self, namespace: str, name: str, wanted: int) -> None:
        try:
            self._objects.change(
                DEPLOYMENT,
                namespace,
                name,
                lambda live: {**live, "spec": {**live["spec"], "replicas": wanted}},
                _SCALER,
            )
        except StatusError as error:  # deleted meanwhile
            LOGGER.info("%s/%s is not scaled: %s", namespace, name, error)

    def _deploy(self, key: _Key, deployment: dict[str, Any]) -> None:
        self._collect(key)
        pods = self._pods.setdefault(key, {})
        seen = [self._seen(pod) for pod in pods.values()]
        step, failure = next_step(deployment, seen), None
        for _ in range(step.start):
            failure = self._make(key, deployment)
            if failure is not None:
                break
        self._end(key, list(step.end))
        now = [self._seen(pod) for pod in pods.values()]
        mark = (
            template_hash(deployment),
            deployment["spec"]["replicas"],
            [(p.name, p.is_ready) for p in now if not p.is_going],
        )
        if self._progress.get(key, (None, 0.0))[0] != mark:
            self._progress[key] = mark, clock.now()
        late = clock.now() - self._progress[key][1] > float(deployment["spec"]["progressDeadlineSeconds"])
        status = deployment_status(deployment, now, failure=failure, is_late=late)
        self._objects.put_status(DEPLOYMENT, *key[:2], status)
        for pod in pods.values():
            self._objects.put(POD, key[0], pod.name, pod.manifest(is_ready=self._is_ready(pod)))

    def _seen(self, pod: Pod) -> Seen:
        return Seen(pod.name, pod.metadata["labels"]["pod-template-hash"], self._is_ready(pod), pod.is_going)

    def _is_ready(self, pod: Pod) -> bool:
        return pod.is_serving and self._bindings.passes_gates(self._objects, pod)

    def _make(self, key: _Key, deployment: Mapping[str, Any]) -> str | None:
        """Create one pod of the newest template, or return why it cannot be created."""
        template, where = deployment["spec"]["template"], key[0]
        namespace = self._objects.find(NAMESPACE, "", where)
        if namespace is None:
            return f'namespaces "{where}" not found'
        refused = refusal(
            template["spec"],
            namespace=namespace,
            accounts=[account["metadata"]["name"] for account in self._objects.list(ACCOUNT, where)],
            quotas=self._objects.list(QUOTA, where),
            running=[pod.spec for (place, *_), pods in self._pods.items() if place == where for pod in pods.values()],
        )
        if refused is not None:
            return refused
        digest = template_hash(deployment)
        name, uid = f"{key[1]}-{digest}-{uuid.uuid4().hex[:5]}", str(uuid.uuid4())
        given = template.get("metadata") or {}
        metadata: dict[str, Any] = {
            "name": name, "namespace": where, "uid": uid, "annotations": given.get("annotations") or {},
            "labels": {**(given.get("labels") or {}), "pod-template-hash": digest},
        }  # fmt: skip
        account = template["spec"].get("serviceAccountName", "default")
        identity = pod_identity.Pod(cluster_arn=self._arn, namespace=where, service_account=account, name=name, uid=uid)
        root = Path(settings.home, "kubernetes", self._cluster, where, name).absolute()
        self._pods[key][name] = Pod(
            metadata,
            template["spec"],
            node=self._placed(template["spec"], metadata["labels"]),
            root=root,
            credentials=lambda: pod_identity.environment(identity),
            changed=self.wake,
        )
        return None

    def _placed(self, spec: Mapping[str, Any], labels: Mapping[str, str]) -> Node | str:
        """Return the node of a new pod, or why there is no suitable one."""
        others = [
            Neighbour(pod.metadata["labels"], pod.node.name)
            for pods in self._pods.values()
            for pod in pods.values()
            if isinstance(pod.node, Node) and not pod.is_going
        ]
        self._show(self._pool.grow(spec))
        return nodes.place(spec, labels, self._pool.nodes, others) or nodes.unplaced(self._pool.nodes)

    def _show(self, made: Iterable[Node]) -> None:
        for node in made:
            self._objects.put(NODE, "", node.name, node.manifest())

    def _end(self, key: _Key, names: list[str]) -> None:
        for name in names:
            if not self._pods[key][name].is_going:
                self._pods[key][name].end()
                self.wake()

    def _collect(self, key: _Key) -> None:
        """Drop pods that have ended."""
        for name in [name for name, pod in self._pods.get(key, {}).items() if pod.has_ended]:
            del self._pods[key][name]
            self._objects.drop(POD, key[0], name)
