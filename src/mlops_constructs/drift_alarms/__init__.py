"""Alarms on what a monitor finds, and what they start."""

from mlops_constructs.drift_alarms.drift_alarms import DriftAlarms

__all__ = ["DriftAlarms"]
