"""Common parts of monitors: silence, and the state of several metrics."""

import pytest
from tests.runtime.monitor.evidence import measured

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.monitor.monitors.monitor_kind import judged, more, silence
from mlops_runtime.monitor.monitors.monitor_table import MONITORS
from mlops_runtime.monitor.window_evidence import Traffic


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        (Traffic(rows=1, counted=1), None),
        (Traffic(malformed=1, counted=1), None),
        (Traffic(counted=18, uncounted=2, rows=9), None),
        (Traffic(counted=17, uncounted=2, rows=9), MonitorState.MONITOR_NOT_RUN),
        (Traffic(invocations=2, announced=2), MonitorState.NO_TRAFFIC),
        (Traffic(invocations=3, announced=2), MonitorState.NO_CAPTURE),
    ],
)
def test_silence_has_a_reason(traffic: Traffic, expected: MonitorState | None) -> None:
    """The reasons are uncounted captures, no captures and no calls; a window with rows is no silence."""
    assert silence(traffic) is expected


def test_verdicts_make_a_state() -> None:
    """One violation is enough; no verdict at all is unknown."""
    assert judged([measured(None)]) is MonitorState.INSUFFICIENT_DATA
    assert judged([measured(None), measured(False)]) is MonitorState.OK
    assert judged([measured(True), measured(False)]) is MonitorState.VIOLATION


def test_what_is_not_named_is_counted() -> None:
    """A sentence names three and the number of others."""
    assert (more(3), more(5)) == ("", " and 2 more")


def test_the_table_has_each_monitor_by_its_name() -> None:
    """Monitors are in display order, and each describes OK and VIOLATION."""
    assert list(MONITORS) == ["drift", "quality", "estimates", "bias", "explainability", "latency"]
    assert all(kind.holds and all(kind.violated) for kind in MONITORS.values())
