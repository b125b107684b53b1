"""Evidence of nothing."""

from tests.runtime.monitor.evidence import states

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.monitor.window_evidence import Evidence, Traffic


def test_who_read_nothing_knows_nothing() -> None:
    """Each default stands for what was not looked at, and no monitor takes it for OK."""
    assert set(states(Evidence()).values()) == {MonitorState.NOT_YET_DEPLOYED}
    assert Evidence().traffic == Traffic(invocations=0, counted=0, uncounted=0, rows=0, malformed=0, synthetic=0)
