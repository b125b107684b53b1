"""Retraining pipelines: jobs, the Retrain state machine, the guard and its triggers."""

from mlops_constructs.retraining.guard_function import GuardPolicy
from mlops_constructs.retraining.retraining_pipeline import RetrainingPipeline
from mlops_constructs.retraining.tracking import Tracking
from mlops_constructs.retraining.training_declaration import (
    ProcessingStep,
    ServingContainer,
    Spot,
    TrainingJob,
    TrainingSetSource,
)
from mlops_runtime.contracts.monitor import Condition, Facet

__all__ = [
    "Condition",
    "Facet",
    "GuardPolicy",
    "ProcessingStep",
    "RetrainingPipeline",
    "ServingContainer",
    "Spot",
    "Tracking",
    "TrainingJob",
    "TrainingSetSource",
]
