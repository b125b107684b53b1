"""The running load balancers: each a proxy process that follows what the control plane says.

Weights and targets reach a running proxy at once and cut no request off. A change of listeners or conditions starts a new
process on the same sockets and lets the old one finish.
"""

import logging
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ministack.services import alb

from mlops_local import compat, settings
from mlops_local.alarms import Scope
from mlops_local.load_balancer import haproxy, metrics, relay, routing, targets
from mlops_local.load_balancer.routing import Listener, Routing

compat.expect("ministack.services.alb", _lbs=object)

LOGGER = logging.getLogger(__name__)


# claim: a-change-of-weights-breaks-no-request
class Proxy(Protocol):
    """A running proxy process."""

    def update(self, old: Routing, new: Routing) -> None:
        """Take weights and targets over."""

    def retire(self) -> None:
        """Accept nothing more, and end once what is open is done."""


@dataclass(slots=True)
class Balancer:
    """One load balancer: its sockets by listener port, its proxy, what the proxy was told, and why it was told no more."""

    arn: str
    sockets: dict[int, socket.socket] = field(default_factory=dict)
    proxy: Proxy | None = None
    routing: Routing = field(default_factory=lambda: Routing((), {}))
    problem: str = ""


_BALANCERS: dict[str, Balancer] = {}
_LOCK = threading.RLock()
_KICKED = threading.Event()


def kick() -> None:
    """Let the proxies follow soon, on a thread of theirs."""
    _KICKED.set()


def refresh() -> None:
    """Let every proxy follow what the control plane says now."""
    with _LOCK, Scope(settings.account, settings.region):
        for arn in [arn for arn in _BALANCERS if arn not in alb._lbs]:
            _close(_BALANCERS.pop(arn))
        for arn in list(alb._lbs):
            balancer = _BALANCERS.setdefault(arn, Balancer(arn))
            wanted = _routing(arn)
            if wanted == balancer.routing:
                continue
            try:
                _follow(balancer, wanted)
                balancer.problem = ""
            except (OSError, haproxy.ProxyError) as error:  # the others go on; what is wrong is told with the state
                balancer.problem = str(error)
                LOGGER.exception("load balancer %s cannot follow", full_name(arn))
        _tell_groups()


def _tell_groups() -> None:
    """Write down which load balancers forward to each group, as DescribeTargetGroups says it."""
    for group, record in list(alb._tgs.items()):
        name = full_name(group)
        record["LoadBalancerArns"] = sorted(arn for arn, row in _BALANCERS.items() if name in row.routing.targets)


def weighted(action: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of a forward action with their weights; one ARN alone is a group of weight 1."""
    groups: list[dict[str, Any]] = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    if groups or not action.get("TargetGroupArn"):
        return groups
    return [{"TargetGroupArn": action["TargetGroupArn"], "Weight": 1}]


def _routing(arn: str) -> Routing:
    names = {group: full_name(group) for group in list(alb._tgs)}
    listeners, used = [], set()
    for listener in [row for row in list(alb._listeners.values()) if row["LoadBalancerArn"] == arn]:
        records = [row for row in list(alb._rules.values()) if row["ListenerArn"] == listener["ListenerArn"]]
        rules = []
        for record in routing.listener_rules(records):
            actions = [{**action, "Groups": weighted(action)} for action in record.get("Actions") or []]
            if actions:
                rules.append(routing.rule({**record, "Actions": actions}, names))
        used |= {name for rule in rules for name, _ in rule.groups}
        listeners.append(Listener(int(listener["Port"]), tuple(rules)))
    rotation = {name: targets.rotation(group) for group, name in names.items() if name in used}
    return Routing(tuple(sorted(listeners, key=lambda row: row.port)), rotation)


def full_name(arn: str) -> str:
    """Return what dimensions of metrics name: ``targetgroup/<name>/<id>`` or ``app/<name>/<id>``."""
    return arn.rpartition(":")[2].removeprefix("loadbalancer/")


def _follow(balancer: Balancer, wanted: Routing) -> None:
    old = balancer.routing
    ports = {listener.port for listener in wanted.listeners}
    for port in balancer.sockets.keys() - ports:
        balancer.sockets.pop(port).close()
    for port in ports - balancer.sockets.keys():
        balancer.sockets[port] = socket.create_server(("127.0.0.1", 0), backlog=512)
    if balancer.proxy is not None and old.structure() == wanted.structure():
        balancer.proxy.update(old, wanted)
        balancer.routing = wanted
        return
    retired, balancer.proxy = balancer.proxy, None
    if wanted.listeners:
        name = full_name(balancer.arn)
        home = Path(settings.home, "load_balancer", balancer.arn.rpartition("/")[2]).absolute()
        home.mkdir(parents=True, exist_ok=True)
        start = haproxy.start if haproxy.is_installed() else relay.start
        balancer.proxy = start(wanted, balancer.sockets, home=home, log_port=metrics.listen(name))
        LOGGER.info("load balancer %s: %s on %s", name, engine(), addresses(balancer))
    balancer.routing = wanted
    if retired is not None:
        retired.retire()


def _close(balancer: Balancer) -> None:
    if balancer.proxy is not None:
        balancer.proxy.retire()
    for listening in balancer.sockets.values():
        listening.close()


def engine() -> str:
    """Return what stands for the load balancers here."""
    return "haproxy" if haproxy.is_installed() else "asyncio relay (haproxy is not installed: slower, for small loads)"


def addresses(balancer: Balancer) -> dict[str, str]:
    """Return the address on this machine of each listener's port."""
    return {str(port): f"http://127.0.0.1:{s.getsockname()[1]}" for port, s in balancer.sockets.items()}


def control(_method: str, _body: bytes) -> tuple[int, dict[str, object]]:
    """Answer ``/_mlops/load-balancers``: the addresses of every listener, and what serves them."""
    with _LOCK:
        rows = [
            {
                "arn": balancer.arn,
                "name": full_name(balancer.arn).split("/")[1],
                "listeners": addresses(balancer),
                "problem": balancer.problem,
            }
            for balancer in _BALANCERS.values()
        ]
    return 200, {"engine": engine(), "load_balancers": rows}


def _count() -> None:
    """Tell the host counts of each group in use, once an embedded minute and when they change."""
    with _LOCK:
        found = [
            (b.arn, group)
            for b in _BALANCERS.values()
            for group in list(alb._tgs)
            if full_name(group) in b.routing.targets
        ]
    for arn, group in found:
        metrics.hosts(full_name(arn), full_name(group), *targets.counts(group))


def start() -> None:
    """Start the threads: one checks health, one follows what was kicked."""

    def follow() -> None:
        while True:
            _KICKED.wait()
            _KICKED.clear()
            try:
                refresh()
            except Exception:
                LOGGER.exception("a load balancer cannot follow")

    def check() -> None:
        with Scope(settings.account, settings.region):
            targets.run(refresh, _count)

    targets.watch(kick)
    for name, work in (("load balancers", follow), ("target health", check)):
        threading.Thread(target=work, name=name, daemon=True).start()
