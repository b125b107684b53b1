"""Registered models: package group, approval, image."""

from mlops_constructs.model_registry.approval import Approval, policy_description
from mlops_constructs.model_registry.model_image import ModelImage
from mlops_constructs.model_registry.model_registry import ModelRegistry

__all__ = ["Approval", "ModelImage", "ModelRegistry", "policy_description"]
