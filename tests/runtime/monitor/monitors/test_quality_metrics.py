"""The table of quality metrics: one entry is enough to measure, limit, evaluate and publish a metric."""

import subprocess
import sys

import numpy as np
import pytest

from mlops_runtime.monitor.cloudwatch_metrics import camel, metric_names
from mlops_runtime.monitor.monitors import classification, regression
from mlops_runtime.monitor.monitors.quality_metrics import (
    CLASSES,
    CLASSIFICATION,
    ERROR,
    METRICS,
    REGRESSION,
    QualityMetric,
)
from mlops_runtime.monitor.monitors.rows import Rows
from mlops_runtime.monitor.spec import MonitorSpec

ROWS = Rows.of(np.array([8.0, 12.0, 0.75]), np.array([10.0, 10.0, 1.0]))


def test_names_are_of_one_target() -> None:
    """A limit belongs to a regression, a classification or classes."""
    assert len(METRICS) == len(REGRESSION) + len(CLASSIFICATION) + len(CLASSES)
    assert tuple(METRICS) == (*regression.NAMES, *classification.NAMES, "macro_log_loss", "macro_recall")


@pytest.mark.parametrize("name", ["recall/barolo", "ece/barolo", "wape/waist", "mae/waist", "bias/waist"])
def test_a_class_or_an_output_may_have_a_limit_and_is_then_published(name: str) -> None:
    """The published name is that of the metric and the class or output."""
    base, _, part = name.partition("/")
    assert f"quality/{camel(base)}/{part}" in metric_names(MonitorSpec(quality_limits={name: 0.5}))
    assert len(metric_names(MonitorSpec(quality_limits={name: 0.5}))) == len(metric_names(MonitorSpec())) + 1


@pytest.mark.parametrize("name", ["auc/barolo", "recall/", "barolo", "recall/ünder"])
def test_fails_for_a_metric_that_no_class_has(name: str) -> None:
    """Rejects metrics that a class or model lacks, and class names that are not ASCII, as CloudWatch requires."""
    with pytest.raises(ValueError, match="quality_limits must be of wape, "):
        MonitorSpec(quality_limits={name: 0.5})


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"wape": 0.5, "recall/barolo": 0.5}, "got wape of a regression and recall/barolo of a model of classes"),
        ({"macro_recall": 0.5, "auc": 0.5}, "got auc of a classification and macro_recall of a model of classes"),
        ({"mae": 0.5, "mae/waist": 0.5}, "got mae of a regression and mae/waist of a model of several outputs"),
    ],
)
def test_fails_for_limits_that_no_model_has_together(limits: dict[str, float], message: str) -> None:
    """Rejects limits of several kinds of model."""
    with pytest.raises(ValueError, match=f"quality_limits must be metrics of one kind of model, {message}"):
        MonitorSpec(quality_limits=limits)
    MonitorSpec(quality_limits={"accuracy": 0.5, "macro_recall": 0.5, "recall/barolo": 0.5})
    MonitorSpec(quality_limits={"wape": 0.5, "mae/waist": 2.0})


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_may_have_a_limit_and_is_then_published(name: str) -> None:
    """The metrics published without a limit are in the price of every monitor."""
    assert MonitorSpec(quality_limits={name: 0.5}).quality_limits == {name: 0.5}
    assert f"quality/{camel(name)}" in metric_names(MonitorSpec(quality_limits={name: 0.5}))
    assert (f"quality/{camel(name)}" in metric_names(MonitorSpec())) is METRICS[name].is_published


def test_a_new_metric_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean relative error, with its own sum, is measured for all rows and each draw of the bootstrap."""
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
    """Synthesis reads names and ranges without numpy."""
    code = "import sys, mlops_runtime.monitor.spec, mlops_runtime.monitor.cloudwatch_metrics; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
