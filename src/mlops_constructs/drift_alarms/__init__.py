"""Alarms on what a monitor finds, and what they start."""

from mlops_constructs.drift_alarms.alarm_catalogue import ExpectedTraffic, Severity
from mlops_constructs.drift_alarms.drift_alarms import DriftAlarms
from mlops_constructs.drift_alarms.unit_dashboard import UnitDashboard

__all__ = ["DriftAlarms", "ExpectedTraffic", "Severity", "UnitDashboard"]
