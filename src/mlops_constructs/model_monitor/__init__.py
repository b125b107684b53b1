"""Monitors: what counts captures and decides over windows."""

from mlops_constructs.model_monitor.model_monitor import ModelMonitor
from mlops_constructs.model_monitor.monitor_engine import MonitorBaseline, MonitorEngine, SageMakerModelMonitor
from mlops_constructs.model_monitor.monitor_tables import MonitorTables

__all__ = ["ModelMonitor", "MonitorBaseline", "MonitorEngine", "MonitorTables", "SageMakerModelMonitor"]
