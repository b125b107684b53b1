"""Rollouts: the policy, the targets and the Deploy machine."""

from mlops_constructs.rollout.policy import RolloutKind, RolloutPolicy
from mlops_constructs.rollout.target import RolloutTarget, SageMakerTarget

__all__ = ["RolloutKind", "RolloutPolicy", "RolloutTarget", "SageMakerTarget"]
