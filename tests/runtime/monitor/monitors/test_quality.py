"""The monitor of quality: its state, and what is published of it."""

from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.monitor.evidence import FULL, GOOD, SPEC, measured
from tests.runtime.monitor.test_metric_lines import values
from tests.runtime.monitor.test_report import report_of

from mlops_runtime.contracts.monitor import (
    Measured,
    MonitorState,
)
from mlops_runtime.monitor.monitors.monitor_table import states
from mlops_runtime.monitor.spec import MonitorSpec


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rows": 0, "wape": None}, MonitorState.NO_LABELS_YET),
        ({"rows": 0, "wape": None, "unjudged": "no label can be used"}, MonitorState.INSUFFICIENT_DATA),
        ({"rows": 99}, MonitorState.INSUFFICIENT_DATA),
        ({"metrics": ()}, MonitorState.INSUFFICIENT_DATA),
        ({"metrics": (measured(None),)}, MonitorState.INSUFFICIENT_DATA),
        ({"metrics": (measured(None), measured(False))}, MonitorState.OK),
        ({"metrics": (measured(False), measured(True))}, MonitorState.VIOLATION),
        ({"wape": 0.7}, MonitorState.OK),
    ],
)
def test_quality_states(change: dict[str, Any], expected: MonitorState) -> None:
    """A metric is worse than it may be or not; a WAPE that is high by chance alone is no violation."""
    assert states(replace(FULL, quality=replace(GOOD, **change)), SPEC)["quality"] is expected


def test_metrics_of_labels_enough_are_published_also_where_nothing_is_asked_of_them() -> None:
    """Of fewer labels they would be noise that rings."""
    f1 = Measured(name="f1", value=0.4)
    unasked = replace(FULL, quality=replace(GOOD, wape=None, metrics=(f1,)))
    found = values(report_of(unasked, MonitorSpec()))
    assert (found["quality/F1"], found["quality/QualityViolations"]) == (0.4, 0)
    few = replace(FULL, quality=replace(GOOD, rows=99, metrics=(f1,)))
    assert "quality/F1" not in values(report_of(few, MonitorSpec()))
