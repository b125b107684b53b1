"""CDK constructs of the MLOps platform."""

from mlops_constructs._errors import ValidationError
from mlops_constructs.business_unit import BusinessUnit, Freeze, FreezeCalendar, Network, Platform, Profile
from mlops_constructs.drift_alarms import DriftAlarms
from mlops_constructs.eks_inference import (
    Bootstrap,
    Delivery,
    EksCapacity,
    EksCluster,
    EksInferenceService,
    EksTarget,
    EksTenant,
    TenantQuota,
)
from mlops_constructs.feature_store import Entity, Feature, FeatureAccess, FeatureGroup, FeatureStore, IFeatureStore
from mlops_constructs.gitlab import GitLabDeployRole, GitLabSubject
from mlops_constructs.model_endpoint import (
    DataCapture,
    EndpointCapacity,
    EndpointVariant,
    IModelEndpoint,
    IServedModel,
    ModelEndpoint,
    Ownership,
    Scaling,
    ScheduledCapacity,
    off_hours,
)
from mlops_constructs.model_monitor import ModelMonitor
from mlops_constructs.model_registry import Approval, ModelImage, ModelRegistry
from mlops_constructs.retraining import (
    GuardPolicy,
    ProcessingStep,
    RetrainingPipeline,
    Spot,
    TrainingJob,
    TrainingSetSource,
)
from mlops_constructs.rollout import (
    GoldenRequests,
    Rollout,
    RolloutChecks,
    RolloutKind,
    RolloutPolicy,
    RolloutTarget,
    SageMakerTarget,
    ShadowTraffic,
)

__all__ = [
    "Approval",
    "Bootstrap",
    "BusinessUnit",
    "DataCapture",
    "Delivery",
    "DriftAlarms",
    "EksCapacity",
    "EksCluster",
    "EksInferenceService",
    "EksTarget",
    "EksTenant",
    "EndpointCapacity",
    "EndpointVariant",
    "Entity",
    "Feature",
    "FeatureAccess",
    "FeatureGroup",
    "FeatureStore",
    "Freeze",
    "FreezeCalendar",
    "GitLabDeployRole",
    "GitLabSubject",
    "GoldenRequests",
    "GuardPolicy",
    "IFeatureStore",
    "IModelEndpoint",
    "IServedModel",
    "ModelEndpoint",
    "ModelImage",
    "ModelMonitor",
    "ModelRegistry",
    "Network",
    "Ownership",
    "Platform",
    "ProcessingStep",
    "Profile",
    "RetrainingPipeline",
    "Rollout",
    "RolloutChecks",
    "RolloutKind",
    "RolloutPolicy",
    "RolloutTarget",
    "SageMakerTarget",
    "Scaling",
    "ScheduledCapacity",
    "ShadowTraffic",
    "Spot",
    "TenantQuota",
    "TrainingJob",
    "TrainingSetSource",
    "ValidationError",
    "off_hours",
]
