"""Slows the embedded cloud's clock to the rate of the traffic.

A canary bakes for minutes of the cloud's clock. On a busy machine, fewer calls are answered in such a minute, and the comparison of
two fleets would have too little evidence. The clock is slowed there, so that a minute has enough calls.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from mlops_local.cloud import Cloud

CALLS_A_MINUTE = 8  # half of the calls of an idle machine at sixty times real time
_LOOK = 1.0  # real seconds between two measurements
_SLOWEST = 0.1  # fraction of the clock's scale: time passes even without answered calls


def scale_for(calls_a_second: float, fastest: float) -> float:
    """Return the clock's scale, in cloud seconds per real second, at which a minute of the cloud has enough calls.

    Args:
        calls_a_second: Answered calls per real second.
        fastest: The largest scale.

    Example:
        >>> scale_for(20.0, 60.0), scale_for(4.0, 60.0), scale_for(0.0, 60.0)
        (60.0, 30.0, 6.0)
    """
    return min(fastest, max(_SLOWEST * fastest, 60.0 * calls_a_second / CALLS_A_MINUTE))


@contextmanager
def paced(running: Cloud, calls: Callable[[], int]) -> Iterator[None]:
    """Slow the clock to the rate of the traffic until the block ends.

    Args:
        running: The cloud.
        calls: Returns the number of answered calls so far, successful or not.
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
