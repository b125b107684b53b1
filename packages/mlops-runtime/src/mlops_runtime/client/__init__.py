"""Client for notebooks to work with a deployed unit: ``pip install 'mlops-runtime[client]'``. ``mlops`` uses the same code."""

from mlops_runtime.client.connection import UnitError
from mlops_runtime.client.results import Comparison, Live, Predictions, Report, RunSummary, RunTable, Summary
from mlops_runtime.client.unit_client import Model, PredictionError, RefusedError, TrainingRun, Unit

__all__ = [
    "Comparison",
    "Live",
    "Model",
    "PredictionError",
    "Predictions",
    "RefusedError",
    "Report",
    "RunSummary",
    "RunTable",
    "Summary",
    "TrainingRun",
    "Unit",
    "UnitError",
]
