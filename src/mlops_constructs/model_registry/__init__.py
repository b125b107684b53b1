"""Model registry: the package group of a model, approval of its packages, and images."""

from mlops_constructs.model_registry.approval import Approval, policy_description
from mlops_constructs.model_registry.model_image import ModelImage
from mlops_constructs.model_registry.model_registry import ModelRegistry

__all__ = ["Approval", "ModelImage", "ModelRegistry", "policy_description"]
