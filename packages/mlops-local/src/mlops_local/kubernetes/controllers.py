"""The controllers of one cluster, on one thread: Deployments, autoscalers' bounds, target group bindings.

It runs when something changed, and once a second for what is late. https://kubernetes.io/docs/concepts/architecture/controller/
"""

import logging
import threading
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ministack.services import eks

from mlops_local import clock, settings
from mlops_local.alarms import Scope
from mlops_local.kubernetes import addons, admission, bindings, deployments, identity, kinds, nodes
from mlops_local.kubernetes.deployments import Seen
from mlops_local.kubernetes.nodes import Neighbour, Node, Pool
from mlops_local.kubernetes.objects import Objects, Write
from mlops_local.kubernetes.pods import Pod
from mlops_local.kubernetes.statuses import StatusError
from mlops_local.load_balancer import targets

LOGGER = logging.getLogger(__name__)
DEPLOYMENT, POD = kinds.BY_NAME["apps/v1", "Deployment"], kinds.BY_NAME["v1", "Pod"]
NODE = kinds.BY_NAME["v1", "Node"]
NAMESPACE, QUOTA, ACCOUNT = (kinds.BY_NAME["v1", name] for name in ("Namespace", "ResourceQuota", "ServiceAccount"))
AUTOSCALER = kinds.BY_NAME["autoscaling/v2", "HorizontalPodAutoscaler"]
_LOOK = 1.0  # real seconds
# who writes a Deployment's scale: its fields are the autoscaler's then, as on a cluster
_SCALER = Write(manager="kube-controller-manager", subresource="scale")
_NO_METRICS = (
    "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: "
    "unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
)
_END = 10.0  # real seconds that pods get when a cluster ends


class Controllers:
    """The controllers of one cluster.

    Args:
        cluster: Its name.
        arn: Its ARN.
        pool: Its nodes.
    """

    def __init__(self, cluster: str, arn: str, pool: Pool) -> None:
        self._cluster, self._arn, self._pool = cluster, arn, pool
        self._wake, self._stopped = threading.Event(), False
        self._pods: dict[tuple[str, str], dict[str, Pod]] = {}
        self._progress: dict[tuple[str, str], tuple[object, float]] = {}
        self._bindings = bindings.Bindings(cluster)
        self._objects: Objects

    def start(self, objects: Objects) -> None:
        """Begin.

        Args:
            objects: The objects of the cluster.
        """
        self._objects = objects
        self._show(self._pool.nodes)
        targets.watch(self.wake)
        threading.Thread(target=self._run, name=f"controllers of {self._cluster}", daemon=True).start()

    def stop(self) -> None:
        """End every pod, and the controllers."""
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
        """Let the controllers look again."""
        self._wake.set()

    def log(self, namespace: str, name: str) -> str:
        """Return what the containers of a pod wrote."""
        found = (pods.get(name) for (where, _), pods in list(self._pods.items()) if where == namespace)
        return next((pod.log() for pod in found if pod is not None), "")

    def pods(self) -> list[dict[str, Any]]:
        """Return what is said of the pods."""
        return [
            {"name": pod.name, "port": pod.port, "state": pod.reason, "ready": pod.is_serving, "restarts": pod.restarts}
            for pods in list(self._pods.values())
            for pod in list(pods.values())
        ]

    def _run(self) -> None:
        with Scope(settings.account, settings.region):
            while not self._stopped:
                self._wake.wait(_LOOK)
                self._wake.clear()
                try:
                    self._reconcile()
                except Exception:
                    LOGGER.exception("controllers of %s failed", self._cluster)

    def _reconcile(self) -> None:
        self._scale()
        found = {(d["metadata"]["namespace"], d["metadata"]["name"]): d for d in self._objects.list(DEPLOYMENT)}
        for key in [key for key in self._pods if key not in found]:
            self._end(key, list(self._pods[key]))  # deleted with their Deployment
            self._collect(key)
        for key, deployment in found.items():
            self._deploy(key, deployment)
        everyone = [pod for pods in self._pods.values() for pod in pods.values()]
        self._bindings.bind(self._objects, everyone)
        for pod in everyone:
            if pod.is_going:
                pod.released.set()  # no target group has it any more

    def _scale(self) -> None:
        """Keep Deployments within their autoscalers' bounds; one that is at zero is left there, as Kubernetes leaves it.

        https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#implicit-maintenance-mode-deactivation
        No CPU is measured: the bounds are all that acts here.
        """
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
        """Return whether an autoscaler acts: it needs pods, and the metrics API."""
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
        except StatusError as error:  # deleted in between
            LOGGER.info("%s/%s is not scaled: %s", namespace, name, error)

    def _deploy(self, key: tuple[str, str], deployment: dict[str, Any]) -> None:
        self._collect(key)
        pods = self._pods.setdefault(key, {})
        seen = [self._seen(pod) for pod in pods.values()]
        step, failure = deployments.step(deployment, seen), None
        for _ in range(step.start):
            failure = self._make(key, deployment)
            if failure is not None:
                break
        self._end(key, list(step.end))
        now = [self._seen(pod) for pod in pods.values()]
        mark = (
            deployments.template_hash(deployment),
            deployment["spec"]["replicas"],
            [(p.name, p.is_ready) for p in now if not p.is_going],
        )
        if self._progress.get(key, (None, 0.0))[0] != mark:
            self._progress[key] = mark, clock.now()
        late = clock.now() - self._progress[key][1] > float(deployment["spec"]["progressDeadlineSeconds"])
        status = deployments.status(deployment, now, failure=failure, is_late=late)
        self._objects.put_status(DEPLOYMENT, *key, status)
        for pod in pods.values():
            self._objects.put(POD, key[0], pod.name, pod.manifest(is_ready=self._is_ready(pod)))

    def _seen(self, pod: Pod) -> Seen:
        return Seen(pod.name, pod.metadata["labels"]["pod-template-hash"], self._is_ready(pod), pod.is_going)

    def _is_ready(self, pod: Pod) -> bool:
        return pod.is_serving and self._bindings.passes_gates(self._objects, pod)

    def _make(self, key: tuple[str, str], deployment: Mapping[str, Any]) -> str | None:
        """Make one pod of the newest template, or say why there can be none."""
        template, where = deployment["spec"]["template"], key[0]
        namespace = self._objects.find(NAMESPACE, "", where)
        if namespace is None:
            return f'namespaces "{where}" not found'
        refused = admission.refusal(
            template["spec"],
            namespace=namespace,
            accounts=[account["metadata"]["name"] for account in self._objects.list(ACCOUNT, where)],
            quotas=self._objects.list(QUOTA, where),
            running=[pod.spec for (place, _), pods in self._pods.items() if place == where for pod in pods.values()],
        )
        if refused is not None:
            return refused
        digest = deployments.template_hash(deployment)
        name, uid = f"{key[1]}-{digest}-{uuid.uuid4().hex[:5]}", str(uuid.uuid4())
        given = template.get("metadata") or {}
        metadata: dict[str, Any] = {
            "name": name, "namespace": where, "uid": uid, "annotations": given.get("annotations") or {},
            "labels": {**(given.get("labels") or {}), "pod-template-hash": digest},
        }  # fmt: skip
        account = template["spec"].get("serviceAccountName", "default")
        asks = identity.Pod(cluster_arn=self._arn, namespace=where, service_account=account, name=name, uid=uid)
        root = Path(settings.home, "kubernetes", self._cluster, where, name).absolute()
        self._pods[key][name] = Pod(
            metadata,
            template["spec"],
            node=self._placed(template["spec"], metadata["labels"]),
            root=root,
            credentials=lambda: identity.environment(asks),
            changed=self.wake,
        )
        return None

    def _placed(self, spec: Mapping[str, Any], labels: Mapping[str, str]) -> Node | str:
        """Return the node of a new pod, or why it has none."""
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

    def _end(self, key: tuple[str, str], names: list[str]) -> None:
        for name in names:
            if not self._pods[key][name].is_going:
                self._pods[key][name].end()
                self.wake()

    def _collect(self, key: tuple[str, str]) -> None:
        """Forget pods that have ended."""
        for name in [name for name, pod in self._pods.get(key, {}).items() if pod.has_ended]:
            del self._pods[key][name]
            self._objects.drop(POD, key[0], name)
        if not self._pods.get(key) and self._objects.find(DEPLOYMENT, *key) is None:
            self._pods.pop(key, None)
            self._progress.pop(key, None)
