"""The metrics of a monitor by name."""

import inspect
from typing import Any

from mlops_constructs.model_monitor.metrics import METRICS, QUALITY, metric_count
from mlops_runtime.monitor.emf import camel, metric_names
from mlops_runtime.monitor.spec import MonitorSpec


def test_they_are_those_that_are_published():
    """The construct, which may not load numpy, and the runtime name the same; so many are paid for."""
    spec = MonitorSpec(alarm_features=("price",), quality_limits={"rmse": 12, "mae": 8})
    declared = {f"{monitor}/{name}" for monitor, names in METRICS.items() for name in names}
    declared |= {f"quality/{camel(name)}" for name in (*QUALITY, "mae")} | {"drift/Psi/price"}

    assert declared == set(metric_names(spec))
    assert metric_count(spec) == len(metric_names(spec)) == metric_count(MonitorSpec()) + 2


def test_each_method_names_one_that_is_published(demand: Any):
    """Alarm, dashboard and function name the same series."""
    published = set(metric_names(MonitorSpec()))
    methods = inspect.getmembers(demand.monitor, inspect.ismethod)
    metrics = [
        method()
        for name, method in methods
        if name.startswith("metric_") and name not in {"metric_psi", "metric_quality"}
    ]

    assert len(metrics) > 12
    assert {f"{metric.dimensions['Monitor']}/{metric.metric_name}" for metric in metrics} <= published
    assert demand.monitor.metric_quality("Rmse").dimensions["Monitor"] == "quality"
