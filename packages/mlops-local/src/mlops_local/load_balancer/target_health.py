"""Targets: registration, health checks, draining, and the state of each target.

Health checks are real requests at the group's interval in embedded seconds, at most five per real second.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
"""

import http.client
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ministack.services import alb

from mlops_local import clock
from mlops_local.load_balancer import routing, zones
from mlops_local.load_balancer.routing import Address
from mlops_local.saved_state import kept_stores

Response = tuple[int, Any, bytes]
_SOON = 0.2  # minimum real seconds between two checks
_NO_RULE = ("Target.NotInUse", "Target group is not configured to receive traffic from the load balancer")
_NO_ZONE = ("Target.NotInUse", "Target is in an Availability Zone that is not enabled for the load balancer")
_REASONS = {
    "initial": ("Elb.InitialHealthChecking", "Initial health checks in progress"),
    "draining": ("Target.DeregistrationInProgress", "Target deregistration is in progress"),
}


@kept_stores.record
@dataclass(slots=True)
class Health:
    """Health check results of one target; ``until`` is the embedded time at which draining ends.

    ``zone`` is the target's zone; empty for an address of this machine, which is in no subnet.
    """

    state: str = "initial"
    zone: str = ""
    failures: int = 0
    passes: int = 0
    reason: tuple[str, str] | None = None
    checked: float = 0.0
    until: float = 0.0


@dataclass(slots=True)
class _Groups:
    health: dict[tuple[str, str, int], Health] = field(default_factory=dict)
    watchers: list[Callable[[], None]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)


_ALL = _Groups()
kept_stores.keep_by(
    __name__, "_ALL", save=lambda: _ALL.health, restore=lambda health: kept_stores.refill(_ALL.health, health)
)


def watch(changed: Callable[[], None]) -> None:
    """Call ``changed`` when a target is registered, removed or changes its state."""
    _ALL.watchers.append(changed)


def _notify_watchers() -> None:
    for changed in list(_ALL.watchers):
        changed()


def _port(arn: str, target: Mapping[str, Any]) -> int:
    return int(target.get("Port") or alb._tgs[arn].get("Port", 80))


def _addresses(arn: str, rows: Iterable[Mapping[str, Any]]) -> set[Address]:
    return {(row["Id"], _port(arn, row)) for row in rows}


def tags(arn: str) -> dict[str, str]:
    """Return a target group's tags."""
    return {tag["Key"]: tag["Value"] for tag in alb._tags.get(arn) or []}


def bind(arn: str, addresses: Mapping[Address, str]) -> bool:
    """Set the targets of a group; return whether the group exists."""
    if arn not in alb._tgs:
        return False
    with _ALL.lock:
        now = _addresses(arn, alb._targets.get(arn, []))
        _remove(arn, now - addresses.keys())
        _add(arn, {address: zone for address, zone in addresses.items() if address not in now})
    if now != addresses.keys():
        _notify_watchers()
    return True


def _add(arn: str, addresses: Mapping[Address, str]) -> None:
    for (host, port), zone in sorted(addresses.items()):
        alb._targets.setdefault(arn, []).append({"Id": host, "Port": port})
        _ALL.health[arn, host, port] = Health(zone=zone)


def _remove(arn: str, addresses: set[Address]) -> None:
    # claim: deregistered-target-drains
    delay = next(
        (a["Value"] for a in alb._tg_attrs.get(arn, []) if a["Key"] == "deregistration_delay.timeout_seconds"), "300"
    )
    alb._targets[arn] = [row for row in alb._targets.get(arn, []) if (row["Id"], _port(arn, row)) not in addresses]
    for host, port in addresses:
        _ALL.health[arn, host, port] = Health(state="draining", until=clock.now() + float(delay))


def register(params: Any) -> Response:
    """RegisterTargets: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_RegisterTargets.html."""

    def add(arn: str, given: set[Address], known: set[Address]) -> None:
        # claim: target-is-address-and-port
        # an explicit zone only counts if cross-zone balancing is off, which is rejected here: botocore, TargetDescription
        _add(arn, dict.fromkeys(given - known, ""))

    return _changed("RegisterTargets", params, add)


def deregister(params: Any) -> Response:
    """DeregisterTargets; a target without a port means the group's port."""
    return _changed("DeregisterTargets", params, lambda arn, given, known: _remove(arn, given & known))


def _changed(operation: str, params: Any, change: Callable[[str, set[Address], set[Address]], None]) -> Response:
    arn = alb._p(params, "TargetGroupArn")
    if arn not in alb._tgs:
        return _unknown(arn)
    given = _addresses(arn, alb._parse_targets_param(params))
    with _ALL.lock:
        change(arn, given, _addresses(arn, alb._targets.get(arn, [])))
    _notify_watchers()
    empty: Response = alb._empty(operation)
    return empty


def _unknown(arn: str) -> Response:
    error: Response = alb._error("TargetGroupNotFound", f"Target groups '{arn}' not found")
    return error


def state(arn: str, address: Address) -> str:
    """Return a target's state, as in DescribeTargetHealth."""
    return _seen(_ALL.health.get((arn, *address)), zones.by_group().get(arn))[0]


def _seen(health: Health | None, enabled: frozenset[str] | None) -> tuple[str, tuple[str, str] | None]:
    """Return a target's state and reason, given the zones that are enabled for its group."""
    if health is None:
        return "unused", ("Target.NotRegistered", "Target is not registered to the target group")
    # claim: target-group-without-rule-not-in-use
    if enabled is None and health.state != "draining":
        return "unused", _NO_RULE
    # claim: target-in-a-disabled-zone-not-in-use
    if enabled is not None and not {health.zone, zones.ANY} & enabled and health.zone and health.state != "draining":
        return "unused", _NO_ZONE
    return health.state, _REASONS.get(health.state) or health.reason


def rotation(arn: str) -> tuple[Address, ...]:
    """Return the targets that get requests: the healthy ones, or all targets in use if no target is healthy.

    "If a target group contains only unhealthy registered targets, the load balancer routes requests to all those targets":
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
    """
    with _ALL.lock:
        states = _states(arn)
        # claim: requests-go-to-all-targets-when-none-is-healthy
        healthy = [address for address, state in states.items() if state == "healthy"]
        return tuple(sorted(healthy or [address for address, state in states.items() if state != "unused"]))


def _states(arn: str) -> dict[Address, str]:
    enabled = zones.by_group().get(arn)
    addresses = _addresses(arn, alb._targets.get(arn, []))
    return {address: _seen(_ALL.health.get((arn, *address)), enabled)[0] for address in addresses}


def counts(arn: str) -> tuple[int, int]:
    """Return the numbers of healthy and other targets of a group."""
    states = list(_states(arn).values())
    return states.count("healthy"), states.count("unhealthy")


def describe(params: Any) -> Response:
    """DescribeTargetHealth, with the reasons of ``TargetHealth``."""
    arn = alb._p(params, "TargetGroupArn")
    if arn not in alb._tgs:
        return _unknown(arn)
    requested = _addresses(arn, alb._parse_targets_param(params))
    with _ALL.lock:
        known = sorted(
            (host, port)
            for group, host, port in _ALL.health
            if group == arn and (not requested or (host, port) in requested)
        )
    rows, enabled = "", zones.by_group().get(arn)
    for address in known:
        now, reason = _seen(_ALL.health.get((arn, *address)), enabled)
        description = (
            f"<Reason>{reason[0]}</Reason><Description>{reason[1]}</Description>" if reason and now != "healthy" else ""
        )
        rows += (
            f"<member><Target><Id>{address[0]}</Id><Port>{address[1]}</Port></Target><HealthCheckPort>{address[1]}</HealthCheckPort>"
            f"<TargetHealth><State>{now}</State>{description}</TargetHealth></member>"
        )
    shown: Response = alb._xml(
        200, "DescribeTargetHealth", f"<TargetHealthDescriptions>{rows}</TargetHealthDescriptions>"
    )
    return shown


def check(now: float) -> bool:
    """Check every target due at ``now``, in epoch seconds, and remove drained ones; return whether a state changed."""
    changed, enabled = False, zones.by_group()
    with _ALL.lock:
        for key in [key for key, health in _ALL.health.items() if health.until and health.until <= now]:
            del _ALL.health[key]
        for key in [key for key in _ALL.health if key[0] not in alb._tgs]:
            del _ALL.health[key]
        due = [
            (key, health)
            for key, health in _ALL.health.items()
            if _seen(health, enabled.get(key[0]))[0] not in {"draining", "unused"}
        ]
    for (arn, host, port), health in due:
        group = dict(alb._tgs.get(arn) or {})
        interval = max(float(group.get("HealthCheckIntervalSeconds", 30)), _SOON * clock.pace())
        # a new target is checked at once, and as often as possible until it is healthy
        if group and (health.state == "initial" or now - health.checked >= interval):
            health.checked = now
            changed = _judge(group, health, _probe(group, host, port)) or changed
    return changed


def _probe(group: Mapping[str, Any], host: str, port: int) -> tuple[str, str] | None:
    connection = http.client.HTTPConnection(host, port, timeout=min(float(group["HealthCheckTimeoutSeconds"]), 5.0))
    try:
        connection.request("GET", group["HealthCheckPath"], headers={"User-Agent": "ELB-HealthChecker/2.0"})
        answer = connection.getresponse()
        answer.read()
        code = answer.status
    except TimeoutError:
        return "Target.Timeout", "Request timed out"
    except (OSError, http.client.HTTPException):
        return "Target.FailedHealthChecks", "Health checks failed"
    finally:
        connection.close()
    if code in routing.matcher(group["Matcher"]["HttpCode"]):
        return None
    return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{code}]"


def _judge(group: Mapping[str, Any], health: Health, failure: tuple[str, str] | None) -> bool:
    # claim: target-is-healthy-after-one-check
    before, health.reason = health.state, failure
    health.passes, health.failures = (health.passes + 1, 0) if failure is None else (0, health.failures + 1)
    # "after a target is registered, it must pass one health check to be considered healthy"
    needed = 1 if before == "initial" else int(group["HealthyThresholdCount"])
    if health.passes >= needed:
        health.state = "healthy"
    elif health.failures >= int(group["UnhealthyThresholdCount"]) and before != "draining":
        health.state = "unhealthy"
    return health.state != before


def run(refreshed: Callable[[], None], counted: Callable[[], None]) -> None:
    """Check targets in an endless loop."""
    while True:
        if _ALL.health and check(clock.now()):
            refreshed()
            _notify_watchers()
        counted()
        threading.Event().wait(_SOON)
