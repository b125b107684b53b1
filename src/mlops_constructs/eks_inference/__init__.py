"""Serving of models on an existing Amazon EKS cluster."""

from mlops_constructs.eks_inference.eks_capacity import EksCapacity
from mlops_constructs.eks_inference.eks_cluster import EksCluster
from mlops_constructs.eks_inference.eks_inference_service import Delivery, EksInferenceService
from mlops_constructs.eks_inference.eks_target import EksTarget
from mlops_constructs.eks_inference.eks_tenant import Bootstrap, EksTenant, TenantQuota

__all__ = [
    "Bootstrap",
    "Delivery",
    "EksCapacity",
    "EksCluster",
    "EksInferenceService",
    "EksTarget",
    "EksTenant",
    "TenantQuota",
]
