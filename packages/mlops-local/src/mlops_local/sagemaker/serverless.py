"""Serverless variants: a process that rests when nobody calls, and starts again for the call that comes then.

After how long a variant rests is not documented by AWS; here it is five minutes of the embedded clock. Provisioned concurrency
never rests. A call over ``MaxConcurrency`` is throttled.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlops_local import clock
from mlops_local.sagemaker import endpoints
from mlops_local.sagemaker.errors import ServiceError
from mlops_local.sagemaker.fleets import FleetError, Server

IDLE = 300.0  # embedded seconds
_LOCK = threading.Lock()


@contextmanager
def awake(server: Server) -> Iterator[float | None]:
    """Hold a server awake for one call; one of instances always is.

    Returns:
        The real seconds that it took to start, ``None`` when it was running.

    Raises:
        ServiceError: ``ThrottlingException``: all of its concurrency is in use; ``ServiceUnavailable``: it does not start.
    """
    # claim: serverless-throttles-over-concurrency
    if server.serverless is None:
        yield None
        return
    with _LOCK:
        if server.busy >= server.serverless["MaxConcurrency"]:
            raise ServiceError("ThrottlingException", "Rate exceeded", status=429)
        server.busy += 1
    try:
        yield _wake(server)
    finally:
        with _LOCK:
            server.busy -= 1
            server.used = clock.now()
        clock.wake()  # when it rests next is known only now


def _wake(server: Server) -> float | None:
    # claim: serverless-throttles-over-concurrency
    with server.waking:
        if server.process is not None:
            return None
        began = time.perf_counter()
        server.start()
        try:
            server.wait_healthy(threading.Event())
        except FleetError as error:
            server.rest()
            raise ServiceError("ServiceUnavailable", str(error), status=503) from error
        return time.perf_counter() - began


class Rests:
    """When serverless variants go to rest, as one source of the embedded clock."""

    def due(self, after: float) -> float | None:
        """Return when the next one has been idle long enough."""
        times = [max(server.used + IDLE, after + 0.001) for server in endpoints.servers() if _may_rest(server)]
        return min(times, default=None)

    def run(self, at: float) -> bool:
        """Let those rest that have been idle long enough."""
        for server in endpoints.servers():
            if _may_rest(server) and server.used + IDLE <= at:
                with server.waking:
                    if server.busy == 0:
                        server.rest()
        return False


def _may_rest(server: Server) -> bool:
    if server.serverless is None or server.serverless.get("ProvisionedConcurrency"):
        return False
    return server.busy == 0 and server.process is not None
