"""A clock of the embedded cloud that goes no faster than the traffic beside it.

A canary bakes for minutes of the cloud's clock. On a busy machine fewer calls are answered in such a minute, and the comparison of
two fleets would have too little evidence about either: the clock goes slower there, so that a minute has its calls.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from mlops_local.cloud import Cloud

CALLS_A_MINUTE = 8  # half of what a quiet machine answers at sixty times the speed
_LOOK = 1.0  # real seconds between two measurements
_SLOWEST = 0.1  # of the clock's own scale: also while nothing is answered, time passes


def scale_for(calls_a_second: float, fastest: float) -> float:
    """Return how many seconds of the cloud should pass in a real one, so that a minute of the cloud has its calls.

    Args:
        calls_a_second: How many the machine answers in a real second.
        fastest: The largest scale.

    Example:
        >>> scale_for(20.0, 60.0), scale_for(4.0, 60.0), scale_for(0.0, 60.0)
        (60.0, 30.0, 6.0)
    """
    return min(fastest, max(_SLOWEST * fastest, 60.0 * calls_a_second / CALLS_A_MINUTE))


@contextmanager
def paced(running: Cloud, calls: Callable[[], int]) -> Iterator[None]:
    """Let the clock go no faster than the traffic until the block ends, then as before.

    Args:
        running: The cloud.
        calls: How many calls have been answered so far, well or not.
    """
    fastest, ended = float(running.clock()["scale"]), Event()

    def keep() -> None:
        before, at = calls(), time.monotonic()
        while not ended.wait(_LOOK):
            now, time_now = calls(), time.monotonic()
            running.clock_scale(scale_for((now - before) / (time_now - at), fastest))
            before, at = now, time_now

    keeper = Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        running.clock_scale(fastest)
