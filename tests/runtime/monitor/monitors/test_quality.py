"""The quality monitor: its state and its published metrics."""

from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.monitor.evidence import FULL, GOOD, changed, measured, report_of, states
from tests.runtime.monitor.test_cloudwatch_metrics import values

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import Measured
from mlops_runtime.monitor.spec import MonitorSpec


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rows": 0}, MonitorState.NO_LABELS_YET),
        ({"rows": 0, "unjudged": "no label can be used"}, MonitorState.INSUFFICIENT_DATA),
        ({"rows": 99}, MonitorState.INSUFFICIENT_DATA),
        ({"metrics": ()}, MonitorState.INSUFFICIENT_DATA),
        ({"metrics": (measured(None),)}, MonitorState.INSUFFICIENT_DATA),
        ({"metrics": (measured(None), measured(False))}, MonitorState.OK),
        ({"metrics": (measured(False), measured(True))}, MonitorState.VIOLATION),
        ({"values": {"wape": 0.7}}, MonitorState.OK),
    ],
)
def test_quality_states(change: dict[str, Any], expected: MonitorState) -> None:
    """A metric beyond its limit violates; a WAPE that is high by chance does not."""
    assert states(changed(FULL, quality=replace(GOOD, **change)))["quality"] is expected


def test_metrics_of_labels_enough_are_published_also_where_nothing_is_asked_of_them() -> None:
    """Metrics of few labels would be noise in alarms and are not published."""
    f1 = Measured(name="f1", value=0.4)
    unasked = changed(FULL, quality=replace(GOOD, values={}, metrics=(f1,)))
    found = values(report_of(unasked, MonitorSpec()))
    assert (found["quality/F1"], found["quality/QualityViolations"]) == (0.4, 0)
    few = changed(FULL, quality=replace(GOOD, rows=99, metrics=(f1,)))
    assert "quality/F1" not in values(report_of(few, MonitorSpec()))
