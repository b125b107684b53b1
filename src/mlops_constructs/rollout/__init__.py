"""Rollouts: the policy, the targets, the Deploy machine and what stands around it."""

from mlops_constructs.rollout.policy import RolloutKind, RolloutPolicy
from mlops_constructs.rollout.rollout import Rollout
from mlops_constructs.rollout.target import RolloutTarget, SageMakerTarget

__all__ = ["Rollout", "RolloutKind", "RolloutPolicy", "RolloutTarget", "SageMakerTarget"]
