"""Promotion of models between environments: accounts and Regions that release and take models."""

from mlops_constructs.promotion.environment import Environment, Images

__all__ = ["Environment", "Images"]
