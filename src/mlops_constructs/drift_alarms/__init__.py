"""Alarms on what a monitor finds, and what they start."""

from mlops_constructs.drift_alarms.drift_alarms import DriftAlarms
from mlops_constructs.drift_alarms.severity import Severity
from mlops_constructs.drift_alarms.traffic import ExpectedTraffic
from mlops_constructs.drift_alarms.unit_dashboard import UnitDashboard

__all__ = ["DriftAlarms", "ExpectedTraffic", "Severity", "UnitDashboard"]
