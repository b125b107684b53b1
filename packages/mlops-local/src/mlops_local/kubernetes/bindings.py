"""Target group bindings: the pods that a Service selects are the targets of its target group, and the gates that wait for them.

A binding owns its whole target group: others' targets are taken out.
https://docs.aws.amazon.com/eks/latest/userguide/auto-configure-alb.html and
https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/pod_readiness_gate/
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_local.kubernetes import kinds
from mlops_local.kubernetes.nodes import Node
from mlops_local.kubernetes.objects import Objects
from mlops_local.kubernetes.pods import Pod
from mlops_local.load_balancer import targets
from mlops_local.load_balancer.routing import Address

LOGGER = logging.getLogger(__name__)
AUTO_MODE = kinds.BY_NAME["eks.amazonaws.com/v1", "TargetGroupBinding"]
CONTROLLER = kinds.BY_NAME["elbv2.k8s.aws/v1beta1", "TargetGroupBinding"]
SERVICE, NAMESPACE = kinds.BY_NAME["v1", "Service"], kinds.BY_NAME["v1", "Namespace"]
# the tag by which Auto Mode's role may change a target group that it did not make
# https://docs.aws.amazon.com/eks/latest/userguide/auto-elb-example.html
TAG = "eks:eks-cluster-name"
GATES = ("eks.amazonaws.com/pod-readiness-gate-inject", "elbv2.k8s.aws/pod-readiness-gate-inject")


class Bindings:
    """The bindings of one cluster.

    Args:
        cluster: Its name.
    """

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._bound: dict[str, dict[Address, str]] = {}
        self._refused: set[str] = set()

    def bind(self, objects: Objects, pods: Sequence[Pod]) -> None:
        """Make the targets of every binding what its Service selects.

        Args:
            objects: The objects of the cluster.
            pods: Its pods.
        """
        # claim: binding-owns-its-target-group
        wanted = {}
        for binding in _all(objects):
            arn = binding["spec"].get("targetGroupARN", "")
            if self._may(binding, arn):
                chosen = [
                    pod for pod in pods if pod.is_serving and not pod.is_going and _selects(objects, binding, pod)
                ]
                # the load balancer finds the zone by the subnet of the address, which is the node's
                wanted[arn] = {pod.address: pod.node.zone for pod in chosen if isinstance(pod.node, Node)}
        for arn in self._bound.keys() - wanted.keys():
            targets.bind(arn, {})
            del self._bound[arn]
        for arn, addresses in wanted.items():
            if self._bound.get(arn) != addresses and targets.bind(arn, addresses):
                self._bound[arn] = addresses

    def release(self) -> None:
        """Take every pod out of its target group."""
        for arn in self._bound:
            targets.bind(arn, {})
        self._bound.clear()

    def passes_gates(self, objects: Objects, pod: Pod) -> bool:
        """Return whether a pod is healthy in each target group that it is bound to, where its namespace asks for that.

        A target that is not in use keeps the gate closed for ever: https://github.com/kubernetes-sigs/aws-load-balancer-controller,
        updateTargetHealthPodConditionForPod, and its issue 3753.
        """
        namespace = objects.find(NAMESPACE, "", pod.metadata["namespace"]) or {"metadata": {}}
        labels = namespace["metadata"].get("labels", {})
        if not any(labels.get(name) in {"enabled", "true"} for name in GATES):
            return True
        arns = [b["spec"].get("targetGroupARN", "") for b in _all(objects) if _selects(objects, b, pod)]
        # claim: readiness-gate-opens-for-healthy-targets-only
        return all(targets.state(arn, pod.address) == "healthy" for arn in arns)

    def _may(self, binding: Mapping[str, Any], arn: str) -> bool:
        # claim: auto-mode-changes-tagged-target-groups
        if binding["apiVersion"] != AUTO_MODE.api_version or targets.tags(arn).get(TAG) == self._cluster:
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
