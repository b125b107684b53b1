"""Monitors: what counts captures and decides over windows."""

from mlops_constructs.model_monitor.model_monitor import ModelMonitor

__all__ = ["ModelMonitor"]
