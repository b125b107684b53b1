"""Retraining: the jobs, the machine, the guard and what triggers them."""

from mlops_constructs.retraining.guard_policy import GuardPolicy
from mlops_constructs.retraining.retraining_pipeline import RetrainingPipeline
from mlops_constructs.retraining.source import TrainingSetSource
from mlops_constructs.retraining.training import ProcessingStep, Spot, TrainingJob

__all__ = ["GuardPolicy", "ProcessingStep", "RetrainingPipeline", "Spot", "TrainingJob", "TrainingSetSource"]
