"""Kubernetes of the embedded cloud: EKS clusters whose API server, controllers and pods run on this machine.

The API server stores applied objects, tracks field ownership like server-side apply, and authorizes by access entries and RBAC.
Pods are real processes with the credentials of their pod identity. Other kinds are rejected. Network policies, topology and
resource limits are recorded without effect.
"""

from mlops_local.kubernetes import eks_clusters, eks_types
from mlops_local.routes import ROUTES


def install() -> None:
    """Add a cluster to each EKS record of MiniStack's, and register the CloudFormation types."""
    eks_clusters.install()
    eks_types.install()
    ROUTES["/_mlops/clusters"] = eks_clusters.control
