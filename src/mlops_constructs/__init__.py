"""CDK constructs of the MLOps platform."""

from mlops_constructs._errors import ValidationError
from mlops_constructs.business_unit import BusinessUnit, Network, Profile
from mlops_constructs.feature_store import Entity, Feature, FeatureGroup, FeatureStore
from mlops_constructs.model_registry import Approval, ModelImage, ModelRegistry

__all__ = [
    "Approval",
    "BusinessUnit",
    "Entity",
    "Feature",
    "FeatureGroup",
    "FeatureStore",
    "ModelImage",
    "ModelRegistry",
    "Network",
    "Profile",
    "ValidationError",
]
