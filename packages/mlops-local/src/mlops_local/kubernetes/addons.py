"""Kubernetes objects of add-ons: the VPC CNI plugin with its ConfigMap and agent, and the metrics API.

A cluster without Auto Mode gets the VPC CNI plugin on creation, as in EKS, with network policies off. The field manager ``eks``
applies all objects of an add-on.
https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-field-management.html and
https://docs.aws.amazon.com/eks/latest/userguide/cni-network-policy-configure.html
"""

import json
from collections.abc import Mapping
from typing import Any

from mlops_local.kubernetes import object_kinds
from mlops_local.kubernetes.cluster_objects import Objects, Write

CNI, METRICS = "vpc-cni", "metrics-server"
_SYSTEM = "kube-system"
_CONFIG_MAP, _DAEMON_SET = object_kinds.BY_NAME["v1", "ConfigMap"], object_kinds.BY_NAME["apps/v1", "DaemonSet"]
_MANAGER = Write(manager="eks", is_forced=True)
_AGENT = "602401143452.dkr.ecr.us-west-2.amazonaws.com/amazon/aws-network-policy-agent:v1.3.0-eksbuild.1"


class ConfigurationError(ValueError):
    """Configuration values that an add-on does not support."""


def install(objects: Objects, name: str, configuration: str = "") -> None:
    """Create or update the objects of an add-on; add-ons other than these two have no objects.

    Raises:
        ConfigurationError: For values that are not a JSON object.
    """
    if name == CNI:
        for kind, manifest in zip((_CONFIG_MAP, _DAEMON_SET), _network(_values(configuration)), strict=True):
            objects.apply(kind, _SYSTEM, manifest, _MANAGER)


def remove(objects: Objects, name: str) -> None:
    """Remove the objects of an add-on."""
    if name == CNI:
        for kind, manifest in zip((_CONFIG_MAP, _DAEMON_SET), _network({}), strict=True):
            objects.drop(kind, _SYSTEM, manifest["metadata"]["name"])


def _values(configuration: str) -> Mapping[str, Any]:
    # claim: addon-configuration-is-an-object
    try:
        found = json.loads(configuration or "{}")
    except ValueError as error:
        raise ConfigurationError(f"ConfigurationValue provided in request is not supported: {error}") from error
    if not isinstance(found, dict):
        raise ConfigurationError("ConfigurationValue provided in request is not supported: it must be a JSON object")
    return found


def _network(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the objects that the configuration affects: the controller's ConfigMap, and the agent's DaemonSet."""
    # https://github.com/aws/amazon-vpc-cni-k8s, charts/aws-vpc-cni/templates/configmap.yaml and daemonset.yaml
    # claim: vpc-cni-owns-its-config-map
    enabled = str(values.get("enableNetworkPolicy", "false")).lower()
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "amazon-vpc-cni"},
        "data": {"enable-network-policy-controller": enabled, "enable-windows-ipam": "false"},
    }
    labels = {"k8s-app": "aws-node"}
    agent = {"name": "aws-eks-nodeagent", "image": _AGENT, "args": [f"--enable-network-policy={enabled}"]}
    daemon = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "aws-node"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [agent]}},
        },
    }
    return config, daemon
