"""Models that one environment releases and another takes: accounts and Regions by name, and what both sides allow."""

from mlops_constructs.promotion.environment import Environment, Images

__all__ = ["Environment", "Images"]
