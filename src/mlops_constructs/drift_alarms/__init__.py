"""Alarms on what a monitor finds, and what they start."""

from mlops_constructs.drift_alarms.dashboard import UnitDashboard
from mlops_constructs.drift_alarms.drift_alarms import DriftAlarms
from mlops_constructs.drift_alarms.severity import Severity
from mlops_constructs.drift_alarms.traffic import ExpectedTraffic

__all__ = ["DriftAlarms", "ExpectedTraffic", "Severity", "UnitDashboard"]
