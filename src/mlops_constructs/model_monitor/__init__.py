"""Monitors: what counts captures and decides over windows."""

from mlops_constructs.model_monitor._sagemaker_settings import MonitorBaseline, SageMakerModelMonitor
from mlops_constructs.model_monitor.engine import MonitorEngine
from mlops_constructs.model_monitor.model_monitor import ModelMonitor
from mlops_constructs.model_monitor.tables import MonitorTables

__all__ = ["ModelMonitor", "MonitorBaseline", "MonitorEngine", "MonitorTables", "SageMakerModelMonitor"]
