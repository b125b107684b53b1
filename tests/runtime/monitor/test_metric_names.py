"""The metrics of a monitor by name."""

import subprocess
import sys

from mlops_runtime.monitor.metric_names import metric_names
from mlops_runtime.monitor.spec import MonitorSpec


def test_names_are_few_and_each_once() -> None:
    """At most thirty names, whatever the baseline; each feature with an alarm and each further limit adds one."""
    names = metric_names(MonitorSpec())
    more = MonitorSpec(alarm_features=("price",), quality_limits={"rmse": 12, "mae": 8}, estimate_limits={"mae": 9})
    assert len(names) == len(set(names)) == 29
    assert set(metric_names(more)) - set(names) == {"quality/Mae", "estimates/EstimatesBeyondLimits", "drift/Psi/price"}


def test_synthesis_needs_no_numpy_for_them() -> None:
    """Synthesis works where numpy is not installed."""
    code = "import sys, mlops_runtime.monitor.metric_names; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
