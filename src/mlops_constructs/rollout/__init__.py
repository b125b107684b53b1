"""Rollouts of models: policies, checks, targets, and the Deploy state machine."""

from mlops_constructs.rollout.rollout import Rollout
from mlops_constructs.rollout.rollout_checks import GoldenRequests, RolloutChecks, ShadowTraffic, Tolerance
from mlops_constructs.rollout.rollout_policy import RolloutKind, RolloutPolicy, RolloutTarget
from mlops_constructs.rollout.sagemaker_target import SageMakerTarget

__all__ = [
    "GoldenRequests",
    "Rollout",
    "RolloutChecks",
    "RolloutKind",
    "RolloutPolicy",
    "RolloutTarget",
    "SageMakerTarget",
    "ShadowTraffic",
    "Tolerance",
]
