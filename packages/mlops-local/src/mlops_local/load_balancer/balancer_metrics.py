"""Metrics in ``AWS/ApplicationELB``, from a log line that the proxy writes for each request.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
"""

import logging
import socket
import threading
from dataclasses import dataclass

from ministack.core.responses import get_account_id, get_region, request_scope

from mlops_local import clock
from mlops_local.sagemaker.batch_delivery import Dimensions, metric_batches
from mlops_local.saved_state import kept_stores

LOGGER = logging.getLogger(__name__)

NAMESPACE = "AWS/ApplicationELB"
_PERIOD = 60
_UNITS = {"TargetResponseTime": "Seconds"}
_BUFFER = 4 * 2**20  # receive buffer of lines, in bytes
_PORTS: dict[str, int] = kept_stores.leave(__name__, "_PORTS", {}, why="ports of this run's proxies")
_LAST: dict[tuple[str, str], tuple[int, int, int]] = kept_stores.leave(
    __name__, "_LAST", {}, why="the last counts of hosts"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One request: its group, whether a target was chosen and responded, the status, and the duration in seconds."""

    group: str
    is_chosen: bool
    is_answered: bool
    status: int
    seconds: float


def parse(text: str) -> Line | None:
    """Return a parsed line; ``None`` for an unrelated line.

    Args:
        text: Backend, server, status, milliseconds to the response's headers (-1 for none), termination state of the session.

    Example:
        >>> parse("targetgroup:blue:1 t1 200 4 --")
        Line(group='targetgroup/blue/1', is_chosen=True, is_answered=True, status=200, seconds=0.004)
    """
    parts = text.strip().split()
    if len(parts) != 5 or not parts[0].startswith("targetgroup:"):
        return None
    group, server, status, milliseconds, _ = parts
    is_chosen = not server.startswith("<")
    is_answered = is_chosen and int(milliseconds) >= 0
    return Line(group.replace(":", "/"), is_chosen, is_answered, int(status), int(milliseconds) / 1000)


def values(line: Line) -> dict[str, float]:
    """Return one request's contribution to a group's metrics."""
    # claim: load-balancer-metrics
    if not line.is_chosen:
        return {"RequestCount": 0.0}
    # claim: silent-target-counts-as-connection-error
    if not line.is_answered:
        return {"RequestCount": 1.0, "TargetConnectionErrorCount": 1.0}
    return {
        "RequestCount": 1.0,
        f"HTTPCode_Target_{line.status // 100}XX_Count": 1.0,
        "TargetResponseTime": line.seconds,
    }


def listen(balancer: str) -> int:
    """Return the UDP port for the lines of a load balancer, ``app/<name>/<id>``; the same one for each call."""
    if balancer not in _PORTS:
        reader = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        reader.bind(("127.0.0.1", 0))
        _PORTS[balancer] = reader.getsockname()[1]
        scope = get_account_id(), get_region()
        threading.Thread(target=_read, args=(balancer, reader, scope), name=f"lines of {balancer}", daemon=True).start()
    return _PORTS[balancer]


def _read(balancer: str, reader: socket.socket, scope: tuple[str, str]) -> None:
    with request_scope(*scope):
        while True:
            text = reader.recv(65536).decode(errors="replace")
            try:
                for part in text.splitlines():
                    if (line := parse(part)) is not None:
                        count(balancer, line)
            except ValueError:
                LOGGER.warning("load balancer %s wrote %r", balancer, text)


def count(balancer: str, line: Line) -> None:
    """Count one request for its group and the whole load balancer, ``app/<name>/<id>``."""
    whole: Dimensions = (("LoadBalancer", balancer),)
    minute = int(clock.now()) // _PERIOD * _PERIOD
    for name, value in values(line).items():
        for dimensions in (whole, (*whole, ("TargetGroup", line.group))):
            _BATCHES.add((dimensions, name, minute), value)
    # claim: own-failures-of-a-load-balancer-have-no-target-group
    if not line.is_answered:
        _BATCHES.add((whole, "HTTPCode_ELB_5XX_Count", minute), 1.0)


def hosts(balancer: str, group: str, healthy: int, unhealthy: int) -> None:
    """Publish the number of healthy and unhealthy hosts of a group, once per embedded minute and on changes."""
    minute = int(clock.now()) // _PERIOD * _PERIOD
    if _LAST.get((balancer, group)) == (minute, healthy, unhealthy):
        return
    _LAST[balancer, group] = minute, healthy, unhealthy
    dimensions: Dimensions = (("LoadBalancer", balancer), ("TargetGroup", group))
    _BATCHES.add((dimensions, "HealthyHostCount", minute), float(healthy))
    _BATCHES.add((dimensions, "UnHealthyHostCount", minute), float(unhealthy))


_BATCHES = metric_batches("load balancer metrics", NAMESPACE, lambda name: _UNITS.get(name, "Count"))
