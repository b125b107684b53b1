"""The Kubernetes of the embedded cloud: EKS clusters whose API server, controllers and pods run on this machine.

It records what is applied, owns fields as server-side apply does, and decides by access entries and RBAC. Pods are real
servers with the credentials of their pod identity. Other kinds are refused. There are no nodes: network policies,
topology and resource limits are recorded and have no effect.
"""

from mlops_local.kubernetes import eks_clusters, eks_types
from mlops_local.routes import ROUTES


def install() -> None:
    """Put clusters behind MiniStack's EKS, and register the CloudFormation types."""
    eks_clusters.install()
    eks_types.install()
    ROUTES["/_mlops/clusters"] = eks_clusters.control
