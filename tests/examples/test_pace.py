"""Synchronization of the clock with the traffic of a trip."""

import time

import pytest
from examples.retail.pace import CALLS_A_MINUTE, paced

from mlops_local import cloud as local_cloud

FASTEST = 60.0


def reaches(running: local_cloud.Cloud, scale: float) -> bool:
    """Return whether the clock's scale approaches a value within twenty seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if float(running.clock()["scale"]) == pytest.approx(scale, rel=0.3):
            return True
        time.sleep(0.05)
    return False


class Clients:
    """Clients with a number of answers per second."""

    def __init__(self) -> None:
        self._before, self._since, self._rate = 0.0, time.monotonic(), 0.0

    def answered(self) -> int:
        """Return the number of answers."""
        return int(self._before + self._rate * (time.monotonic() - self._since))

    def ask(self, calls_a_second: float) -> None:
        """Continue at another rate."""
        self._before, self._since, self._rate = float(self.answered()), time.monotonic(), calls_a_second


@pytest.mark.cloud
def test_the_clock_waits_for_the_calls(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Covers a machine without answers, with half of the required calls per minute, and with more; afterwards it is restored."""
    running, clients = local_cloud.up(tmp_path_factory.mktemp("pace") / "cloud", clock_scale=FASTEST), Clients()
    try:
        with paced(running, clients.answered):
            assert reaches(running, FASTEST / 10)
            clients.ask(0.5 * CALLS_A_MINUTE)
            assert reaches(running, FASTEST / 2)
            clients.ask(2.0 * CALLS_A_MINUTE)
            assert reaches(running, FASTEST)
            clients.ask(0.0)
            assert reaches(running, FASTEST / 10)
        assert running.clock()["scale"] == FASTEST
        with pytest.raises(KeyError), paced(running, clients.answered):
            raise KeyError
        assert running.clock()["scale"] == FASTEST
    finally:
        running.down(forget=True)
