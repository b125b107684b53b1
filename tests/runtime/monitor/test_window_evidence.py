"""Default evidence."""

from tests.runtime.monitor.evidence import states

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.monitor.window_evidence import Evidence, Traffic


def test_who_read_nothing_knows_nothing() -> None:
    """Defaults mean that nothing was read, and no monitor reports OK."""
    assert set(states(Evidence()).values()) == {MonitorState.NOT_YET_DEPLOYED}
    assert Evidence().traffic == Traffic(invocations=0, counted=0, uncounted=0, rows=0, malformed=0, synthetic=0)
