"""Retraining: the jobs, the machine, the guard and what triggers them."""

from mlops_constructs.retraining.retraining_pipeline import RetrainingPipeline
from mlops_constructs.retraining.training import TrainingJob

__all__ = ["RetrainingPipeline", "TrainingJob"]
