"""CloudWatch alarms on the findings of a monitor, their notifications, and dashboards."""

from mlops_constructs.drift_alarms.alarm_catalogue import ExpectedTraffic, Severity
from mlops_constructs.drift_alarms.drift_alarms import DriftAlarms
from mlops_constructs.drift_alarms.unit_dashboard import UnitDashboard

__all__ = ["DriftAlarms", "ExpectedTraffic", "Severity", "UnitDashboard"]
