"""CDK constructs of the MLOps platform.

Modules are imported lazily, when one of their names is first used: an app without a console or a cluster does not load them.
"""

import ast
import gc
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_constructs._validation import ValidationError
    from mlops_constructs.business_unit import (
        BusinessUnit,
        Freeze,
        FreezeCalendar,
        Network,
        Platform,
        PlatformDefaults,
        Profile,
    )
    from mlops_constructs.console import Console
    from mlops_constructs.drift_alarms import DriftAlarms, ExpectedTraffic, Severity, UnitDashboard
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
    from mlops_constructs.eks_inference.eks_tenant import IEksTenant
    from mlops_constructs.eks_inference.service_metrics import SlotMetricOptions
    from mlops_constructs.feature_store import (
        FeatureAccess,
        FeatureIngest,
        FeatureService,
        FeatureStore,
        GlueIngestJob,
        IFeatureStore,
        ITrainingSetJob,
        IUnitFeatureStore,
        TrainingSetJob,
    )
    from mlops_constructs.fleet import FleetReader, ObservabilityLink, ObservabilitySink
    from mlops_constructs.gitlab import GitLabDeployRole, GitLabSubject
    from mlops_constructs.inference_api import Access, InferenceApi, Quota
    from mlops_constructs.model_endpoint import (
        DataCapture,
        EndpointCapacity,
        EndpointVariant,
        IModelEndpoint,
        IServedModel,
        ModelEndpoint,
        Ownership,
        PersonalData,
        Scaling,
        ScheduledCapacity,
        off_hours,
    )
    from mlops_constructs.model_endpoint.endpoint_capacity import AsynchronousInference
    from mlops_constructs.model_endpoint.endpoint_interface import IWatchedModel
    from mlops_constructs.model_endpoint.endpoint_metrics import EndpointMetricOptions, MetricOptions
    from mlops_constructs.model_endpoint.endpoint_role import OnlineFeatures
    from mlops_constructs.model_endpoint.request_schema import RequestSchema
    from mlops_constructs.model_monitor import (
        ModelMonitor,
        MonitorBaseline,
        MonitorEngine,
        MonitorTables,
        SageMakerModelMonitor,
    )
    from mlops_constructs.model_monitor.monitor_engine import MonitorJob
    from mlops_constructs.model_monitor.monitor_interface import IModelMonitor
    from mlops_constructs.model_registry import Approval, ModelImage, ModelRegistry
    from mlops_constructs.model_registry.model_image import PrebuiltImage
    from mlops_constructs.model_registry.registry_interface import IModelRegistry
    from mlops_constructs.promotion import Environment, Images
    from mlops_constructs.promotion.downstream import Downstream
    from mlops_constructs.retraining import (
        GuardPolicy,
        ProcessingStep,
        RetrainingPipeline,
        ServingContainer,
        Spot,
        Tracking,
        TrainingJob,
        TrainingSetSource,
    )
    from mlops_constructs.retraining.pipeline_interface import IRetrainingPipeline
    from mlops_constructs.rollout import (
        GoldenRequests,
        Rollout,
        RolloutChecks,
        RolloutKind,
        RolloutPolicy,
        RolloutTarget,
        SageMakerTarget,
        ShadowTraffic,
        Tolerance,
    )
    from mlops_constructs.rollout.rollout_permissions import RolloutAccess
    from mlops_constructs.unit_interface import IBusinessUnit
    from mlops_runtime.contracts.feature_service import FeatureServiceSpec, ServedColumn, ServedGroup
    from mlops_runtime.contracts.monitor import Condition, Facet
    from mlops_runtime.contracts.retraining import EvaluationPlan, FeatureJoin, GateSpec, SegmentLimit, TrainingSetPlan
    from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
    from mlops_runtime.contracts.serving import (
        AsynchronousSpec,
        CaptureSpec,
        EksSpec,
        GoldenSpec,
        MetricRule,
        PersonalSpec,
        PromisedColumn,
        RequestPromise,
        ScalingSpec,
        ScheduledCapacitySpec,
        ServerlessSpec,
        ShadowSpec,
        ToleranceSpec,
        VariantSpec,
    )
    from mlops_runtime.eks.kubernetes_objects import Ref
    from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
    from mlops_runtime.features.group_join import GroupJoin
    from mlops_runtime.monitor.spec import MonitorSpec

__all__ = [
    "Access",
    "Approval",
    "AsynchronousInference",
    "AsynchronousSpec",
    "Bootstrap",
    "BusinessUnit",
    "CaptureSpec",
    "Condition",
    "Console",
    "DataCapture",
    "Delivery",
    "Downstream",
    "DriftAlarms",
    "EksCapacity",
    "EksCluster",
    "EksInferenceService",
    "EksSpec",
    "EksTarget",
    "EksTenant",
    "EndpointCapacity",
    "EndpointMetricOptions",
    "EndpointVariant",
    "Entity",
    "Environment",
    "EvaluationPlan",
    "ExpectedTraffic",
    "Facet",
    "Feature",
    "FeatureAccess",
    "FeatureGroup",
    "FeatureIngest",
    "FeatureJoin",
    "FeatureService",
    "FeatureServiceSpec",
    "FeatureStore",
    "FleetReader",
    "Freeze",
    "FreezeCalendar",
    "GateSpec",
    "GitLabDeployRole",
    "GitLabSubject",
    "GlueIngestJob",
    "GoldenRequests",
    "GoldenSpec",
    "GroupJoin",
    "GuardPolicy",
    "IBusinessUnit",
    "IEksTenant",
    "IFeatureStore",
    "IModelEndpoint",
    "IModelMonitor",
    "IModelRegistry",
    "IRetrainingPipeline",
    "IServedModel",
    "ITrainingSetJob",
    "IUnitFeatureStore",
    "IWatchedModel",
    "Images",
    "InferenceApi",
    "MetricOptions",
    "MetricRule",
    "ModelEndpoint",
    "ModelImage",
    "ModelMonitor",
    "ModelRegistry",
    "MonitorBaseline",
    "MonitorEngine",
    "MonitorJob",
    "MonitorSpec",
    "MonitorTables",
    "Network",
    "ObservabilityLink",
    "ObservabilitySink",
    "OnlineFeatures",
    "Ownership",
    "PersonalData",
    "PersonalSpec",
    "Platform",
    "PlatformDefaults",
    "PrebuiltImage",
    "ProcessingStep",
    "Profile",
    "PromisedColumn",
    "Quota",
    "Ref",
    "RequestPromise",
    "RequestSchema",
    "RetrainingPipeline",
    "Rollout",
    "RolloutAccess",
    "RolloutChecks",
    "RolloutKind",
    "RolloutPolicy",
    "RolloutSpec",
    "RolloutTarget",
    "SageMakerModelMonitor",
    "SageMakerTarget",
    "Scaling",
    "ScalingSpec",
    "ScheduledCapacity",
    "ScheduledCapacitySpec",
    "SegmentLimit",
    "ServedColumn",
    "ServedGroup",
    "ServerlessSpec",
    "ServingContainer",
    "ServingSpec",
    "Severity",
    "ShadowSpec",
    "ShadowTraffic",
    "SlotMetricOptions",
    "Spot",
    "TenantQuota",
    "Tolerance",
    "ToleranceSpec",
    "Tracking",
    "TrainingJob",
    "TrainingSetJob",
    "TrainingSetPlan",
    "TrainingSetSource",
    "UnitDashboard",
    "ValidationError",
    "VariantSpec",
    "off_hours",
]


if not TYPE_CHECKING:  # a type checker would accept any name because of __getattr__

    def __getattr__(name: str) -> object:
        """Import the module of a public name on first use."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # imported objects are never freed: collecting garbage took a third of the import's time, and again of each synthesis
        is_collecting = gc.isenabled()
        gc.disable()
        try:
            found = globals()[name] = getattr(import_module(_modules()[name]), name)
        finally:
            gc.freeze()
            if is_collecting:
                gc.enable()
        return found


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__


@cache
def _modules() -> dict[str, str]:
    """Return the module of each public name, read from the imports above that type checkers use."""
    imports = (node for node in ast.walk(ast.parse(Path(__file__).read_text())) if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}
