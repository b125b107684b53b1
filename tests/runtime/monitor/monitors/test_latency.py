"""The latency monitor: its state and its messages without a result."""

import pytest
from tests.runtime.monitor import reports
from tests.runtime.monitor.evidence import FULL, changed, measured, states

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import LatencyResult
from mlops_runtime.monitor.monitors.latency_measures import MINIMUM_CALLS
from mlops_runtime.monitor.page import report_words
from mlops_runtime.monitor.window_evidence import Evidence


@pytest.mark.parametrize(
    ("calls", "verdicts", "expected"),
    [
        (0, (), MonitorState.NO_TRAFFIC),
        (99, (None,), MonitorState.INSUFFICIENT_DATA),
        (500, (None,), MonitorState.INSUFFICIENT_DATA),
        (500, (False, None), MonitorState.OK),
        (500, (False, True), MonitorState.VIOLATION),
    ],
)
def test_latency_states(calls: int, verdicts: tuple[bool | None, ...], expected: MonitorState) -> None:
    """Needs no feature baseline, so that an unusable one does not hide a slow model."""
    latency = LatencyResult(calls=calls, metrics=tuple(measured(verdict, "p99") for verdict in verdicts))
    assert states(changed(FULL, latency=latency, baseline=None, flaw="gone"))["latency"] is expected
    assert states(changed(Evidence(), latency=latency))["latency"] is MonitorState.NOT_YET_DEPLOYED


def test_latency_says_what_it_lacks() -> None:
    """Names the missing calls: of the window or of the weeks before."""
    few, alone = (
        reports.report_of(8, (), latency=LatencyResult(state=MonitorState.INSUFFICIENT_DATA, calls=calls))
        for calls in (MINIMUM_CALLS - 1, 5000)
    )

    assert (
        report_words.monitor_text(few, "latency").means == "99 calls are too few for a 99th percentile, 100 are needed"
    )
    assert (
        report_words.monitor_text(alone, "latency").means
        == "the 4 weeks before had fewer than 100 calls to compare with"
    )
    assert "too few rows" not in report_words.monitor_text(alone, "latency").word
    assert report_words.monitor_text(alone, "drift") == report_words.state_text("drift", MonitorState.OK)
