"""The table of quality's metrics: one entry is all that a metric needs to be measured, limited, judged and published."""

import subprocess
import sys

import numpy as np
import pytest

from mlops_runtime.monitor.metric_names import camel, metric_names
from mlops_runtime.monitor.monitors import classification, regression
from mlops_runtime.monitor.monitors.quality_metrics import CLASSIFICATION, ERROR, METRICS, REGRESSION, QualityMetric
from mlops_runtime.monitor.monitors.rows import Rows
from mlops_runtime.monitor.spec import MonitorSpec

ROWS = Rows.of(np.array([8.0, 12.0, 0.75]), np.array([10.0, 10.0, 1.0]))


def test_names_are_of_one_target() -> None:
    """A limit by name is one of a regression or of a classification."""
    assert len(METRICS) == len(REGRESSION) + len(CLASSIFICATION)
    assert tuple(METRICS) == regression.NAMES + classification.NAMES


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_may_have_a_limit_and_is_then_published(name: str) -> None:
    """What is published without one is in the price of every monitor."""
    assert MonitorSpec(quality_limits={name: 0.5}).quality_limits == {name: 0.5}
    assert f"quality/{camel(name)}" in metric_names(MonitorSpec(quality_limits={name: 0.5}))
    assert (f"quality/{camel(name)}" in metric_names(MonitorSpec())) is METRICS[name].is_published


def test_a_new_metric_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sum of its own: the mean of relative errors, of all rows and of each draw of a bootstrap."""
    mape = QualityMetric(
        name="mape",
        value=lambda sums: sums.relative / sums.rows,
        limit=ERROR,
        sums={"relative": lambda rows: abs(rows.prediction - rows.label) / abs(rows.label)},
    )
    monkeypatch.setattr(regression, "REGRESSION", (*REGRESSION, mape))
    assert regression.values(ROWS)["mape"] == pytest.approx((0.2 + 0.2 + 0.25) / 3)
    resampling = regression.Resampling(ROWS.call)
    assert np.isfinite(regression.draws(ROWS, resampling)["mape"]).all()


def test_it_needs_no_numpy() -> None:
    """Synthesis reads names and ranges."""
    code = (
        "import sys, mlops_runtime.monitor.spec, mlops_runtime.monitor.metric_names; sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
