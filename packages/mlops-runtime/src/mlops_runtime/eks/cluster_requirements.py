"""Requirements of a cluster for a unit's namespace; a missing one is an error with the command that adds it.

Without these checks, failures would be silent: network policies are accepted but not enforced, autoscalers stay at their minimum.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mlops_runtime.eks.cluster_client import Cluster, ClusterError
from mlops_runtime.eks.kubernetes_objects import METRICS, NETWORK_POLICIES, Ref

_SYSTEM = "kube-system"
_CONFIG_MAP = Ref(api_version="v1", kind="ConfigMap", namespace=_SYSTEM, name="amazon-vpc-cni")
_DAEMON_SET = Ref(api_version="apps/v1", kind="DaemonSet", namespace=_SYSTEM, name="aws-node")
_KEY, _FLAG = "enable-network-policy-controller", "--enable-network-policy=true"


def check_mode(cluster: Cluster, name: str, *, is_auto_mode: bool) -> None:
    """Compare a stack's ``auto_mode`` with DescribeCluster (``computeConfig.enabled``).

    Args:
        name: Its name.
        is_auto_mode: Whether the stack expects EKS Auto Mode.

    Raises:
        ClusterError: If they differ: target group bindings would have a kind that no controller handles.
    """
    if cluster.is_auto_mode is None or cluster.is_auto_mode == is_auto_mode:
        return
    found, fix = ("on", "omit it") if cluster.is_auto_mode else ("off", "set it to False")
    raise ClusterError(
        f"EKS Auto Mode is {found} (computeConfig.enabled of DescribeCluster), but the stack's EksCluster has auto_mode="
        f"{is_auto_mode}; {fix}, or change the cluster with: aws eks update-cluster-config --name {name} --compute-config",
        what=f"use cluster {name!r}",
    )


def check_all(cluster: Cluster, name: str, required: Iterable[str]) -> None:
    """Check each requirement by its name: ``networkPolicies``, ``metrics``.

    Raises:
        ClusterError: For the first one that is not met, with the command that adds it.
    """
    for requirement in required:
        _CHECKS[requirement](cluster, name)


def _check_network_policies(cluster: Cluster, name: str) -> None:
    """Require that the VPC CNI plugin enforces network policies; one setting enables its controller and node agents."""
    # https://docs.aws.amazon.com/eks/latest/userguide/cni-network-policy-configure.html
    config, agent = cluster.get(_CONFIG_MAP), cluster.get(_DAEMON_SET)
    value = ((config or {}).get("data") or {}).get(_KEY)
    missing = []
    if value != "true":
        missing.append(f"{_KEY} of {_CONFIG_MAP} is {value!r}")
    if not _has_flag(agent):
        missing.append(f"{_DAEMON_SET} has no container with {_FLAG}")
    if missing:
        raise ClusterError(
            f"network policies are not enforced: {' and '.join(missing)}; enable both with the add-on's setting "
            f"enableNetworkPolicy: aws eks update-addon --cluster-name {name} --addon-name vpc-cni --configuration-values "
            '\'{"enableNetworkPolicy": "true"}\' (create-addon if EKS does not manage it yet); if another plugin enforces '
            "them, use Bootstrap.yaml()",
            what=f"use cluster {name!r}",
        )


def _has_flag(agent: Mapping[str, Any] | None) -> bool:
    containers = ((agent or {}).get("spec") or {}).get("template", {}).get("spec", {}).get("containers", [])
    return any(_FLAG in (container.get("args") or []) for container in containers)


def _check_metrics(cluster: Cluster, name: str) -> None:
    """Require the metrics API, which clusters created through the API lack by default, also in Auto Mode."""
    # https://docs.aws.amazon.com/eks/latest/userguide/metrics-server.html
    if not cluster.serves("metrics.k8s.io/v1beta1"):
        raise ClusterError(
            "it has no metrics (API metrics.k8s.io/v1beta1), so autoscalers stay at their minimum under any load; add them "
            f"with: aws eks create-addon --cluster-name {name} --addon-name metrics-server",
            what=f"use cluster {name!r}",
        )


_CHECKS: dict[str, Callable[[Cluster, str], None]] = {
    NETWORK_POLICIES: _check_network_policies,
    METRICS: _check_metrics,
}
