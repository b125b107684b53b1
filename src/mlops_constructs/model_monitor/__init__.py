"""Model monitors, which count captured calls and decide about drift and quality, and Athena tables of their data."""

from mlops_constructs.model_monitor.model_monitor import ModelMonitor
from mlops_constructs.model_monitor.monitor_engine import MonitorBaseline, MonitorEngine, SageMakerModelMonitor
from mlops_constructs.model_monitor.monitor_tables import MonitorTables

__all__ = ["ModelMonitor", "MonitorBaseline", "MonitorEngine", "MonitorTables", "SageMakerModelMonitor"]
