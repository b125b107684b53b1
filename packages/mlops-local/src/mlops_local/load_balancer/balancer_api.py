"""ELBv2's control plane, and the proxy process of each load balancer."""

import asyncio
import logging
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import acm, alb
from ministack.services.cloudformation import provisioners

from mlops_local import settings
from mlops_local.load_balancer import balancer_metrics, haproxy, relay, routing, target_health, zones
from mlops_local.load_balancer.routing import Listener, Routing
from mlops_local.saved_state import kept_stores
from mlops_local.stacks import handler_steps

LOGGER = logging.getLogger(__name__)


Response = tuple[int, Any, bytes]
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ForwardActionConfig.html (1 to 5 groups),
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupTuple.html (weights of 0 to 999)
# claim: forward-action-weights
_GROUPS, _WEIGHT = 5, 999
_TYPES = ("LoadBalancer", "Listener", "ListenerRule", "TargetGroup")
_ZONE = re.compile(r"<ZoneName>[^<]*</ZoneName><SubnetId>([^<]*)</SubnetId>")
# supported conditions of a rule; MiniStack stores others, which the proxy would ignore
CONDITIONS = ("path-pattern", "host-header")


# claim: a-change-of-weights-breaks-no-request
class Proxy(Protocol):
    """A running proxy process."""

    def update(self, old: Routing, new: Routing) -> None:
        """Apply new weights and targets."""

    def retire(self) -> None:
        """Accept no more connections, and end when the open ones are done."""


@dataclass(slots=True)
class Balancer:
    """A load balancer: its sockets by listener port, its proxy, the proxy's configuration, and the error of its last update."""

    arn: str
    sockets: dict[int, socket.socket] = field(default_factory=dict)
    proxy: Proxy | None = None
    routing: Routing = field(default_factory=lambda: Routing((), {}))
    problem: str = ""


_BALANCERS: dict[str, Balancer] = {}
# local port by listener port, per load balancer, before the cloud was restarted
_BEFORE: dict[str, dict[int, int]] = kept_stores.leave(__name__, "_BEFORE", {}, why="load balancers that start again")
_LOCK = threading.RLock()
_KICKED = threading.Event()


def kick() -> None:
    """Trigger an update of the proxies on their thread."""
    _KICKED.set()


def refresh() -> None:
    """Update every proxy to the current state of the control plane."""
    with _LOCK, request_scope(settings.account, settings.region):
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
            except (OSError, haproxy.ProxyError) as error:  # the others continue; the error is reported with the state
                balancer.problem = str(error)
                LOGGER.exception("load balancer %s cannot follow", full_name(arn))
        _update_groups()


def _update_groups() -> None:
    """Store the load balancers of each group, as DescribeTargetGroups returns them."""
    for group, record in list(alb._tgs.items()):
        name = full_name(group)
        record["LoadBalancerArns"] = sorted(arn for arn, row in _BALANCERS.items() if name in row.routing.targets)


def weighted(action: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of a forward action with their weights; a single ARN is a group with weight 1."""
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
        listeners.append(Listener(int(listener["Port"]), tuple(rules), certified_names(listener)))
    rotation = {name: target_health.rotation(group) for group, name in names.items() if name in used}
    return Routing(tuple(sorted(listeners, key=lambda row: row.port)), rotation)


def certified_names(listener: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names, in lower case, of a listener's certificates from this cloud."""
    known = [acm._certificates.get(arn) for arn in listener.get("Certificates") or ()]
    names = {name for each in known if each for name in (each["DomainName"], *each.get("SubjectAlternativeNames", ()))}
    return tuple(sorted(name.lower() for name in names))


def full_name(arn: str) -> str:
    """Return the name in metric dimensions: ``targetgroup/<name>/<id>`` or ``app/<name>/<id>``."""
    return arn.rpartition(":")[2].removeprefix("loadbalancer/")


def _follow(balancer: Balancer, wanted: Routing) -> None:
    old = balancer.routing
    ports = {listener.port for listener in wanted.listeners}
    for port in balancer.sockets.keys() - ports:
        balancer.sockets.pop(port).close()
    for port in ports - balancer.sockets.keys():
        balancer.sockets[port] = _listen(_BEFORE.get(balancer.arn, {}).get(port, 0))
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
        balancer.proxy = start(wanted, balancer.sockets, home=home, log_port=balancer_metrics.listen(name))
        LOGGER.info("load balancer %s: %s on %s", name, engine(), addresses(balancer))
    balancer.routing = wanted
    if retired is not None:
        retired.retire()


def _listen(port: int) -> socket.socket:
    """Listen on a local port, or on a free one if it is in use."""
    try:
        return socket.create_server(("127.0.0.1", port), backlog=512)
    except OSError:
        return socket.create_server(("127.0.0.1", 0), backlog=512)


def _save() -> dict[str, dict[int, int]]:
    return dict(_BEFORE) | {
        arn: {port: listener.getsockname()[1] for port, listener in balancer.sockets.items()}
        for arn, balancer in dict(_BALANCERS).items()
    }


def _restart() -> list[str]:
    """Restart the proxy of each load balancer; its targets are checked before they get traffic."""
    refresh()
    _BEFORE.clear()
    return [f"load balancer {full_name(b.arn)}: {b.problem}" for b in list(_BALANCERS.values()) if b.problem]


kept_stores.keep_by(
    __name__, "_BALANCERS", save=_save, restore=lambda saved: kept_stores.refill(_BEFORE, saved), restart=_restart
)


def _close(balancer: Balancer) -> None:
    if balancer.proxy is not None:
        balancer.proxy.retire()
    for listening in balancer.sockets.values():
        listening.close()


def engine() -> str:
    """Return a description of the proxies in use."""
    return "haproxy" if haproxy.is_installed() else "asyncio relay (haproxy is not installed: slower, for small loads)"


def addresses(balancer: Balancer) -> dict[str, str]:
    """Return the local address of each listener port."""
    return {str(port): f"http://127.0.0.1:{s.getsockname()[1]}" for port, s in balancer.sockets.items()}


# claim: one-group-behind-several-listeners
def listening(name: str, port: int) -> int | None:
    """Return the local port of a load balancer's listener, by the load balancer's DNS name."""
    with request_scope(settings.account, settings.region):
        names = {str(row["DNSName"]).lower(): arn for arn, row in list(alb._lbs.items())}
    balancer = _BALANCERS.get(names.get(name.lower(), ""))
    listener = None if balancer is None else balancer.sockets.get(port)
    return None if listener is None else int(listener.getsockname()[1])


def control(_method: str, _body: bytes) -> tuple[int, dict[str, object]]:
    """Serve ``/_mlops/load-balancers``: the addresses and targets of every listener."""
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
    """Publish the host counts of each group in use, once per embedded minute and on changes."""
    with _LOCK:
        found = [
            (b.arn, group)
            for b in _BALANCERS.values()
            for group in list(alb._tgs)
            if full_name(group) in b.routing.targets
        ]
    for arn, group in found:
        balancer_metrics.hosts(full_name(arn), full_name(group), *target_health.counts(group))


def start() -> None:
    """Start two threads: one checks health, one updates proxies when triggered."""

    def follow() -> None:
        while True:
            _KICKED.wait()
            _KICKED.clear()
            try:
                refresh()
            except Exception:
                LOGGER.exception("a load balancer cannot follow")

    def check() -> None:
        with request_scope(settings.account, settings.region):
            target_health.run(refresh, _count)

    target_health.watch(kick)
    for name, work in (("load balancers", follow), ("target health", check)):
        threading.Thread(target=work, name=name, daemon=True).start()


def install() -> None:
    """Complete MiniStack's operations and CloudFormation types; changes reach the running proxies."""
    actions = alb._ACTION_MAP
    parse, write, handle = alb._parse_actions, alb._action_xml, alb.handle_request

    def parsed(params: Mapping[str, Any], prefix: str = "DefaultActions") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = parse(params, prefix)
        for number, action in enumerate(found, 1):
            if groups := _groups(params, f"{prefix}.member.{number}.ForwardConfig.TargetGroups"):
                _forward(action, groups)
        return found

    def written(action: dict[str, Any]) -> str:
        text: str = write(action)
        return text.removesuffix("</member>") + _forward_xml(action) + "</member>"

    alb._parse_actions, alb._action_xml = parsed, written
    actions["DescribeTargetHealth"] = target_health.describe
    actions["RegisterTargets"], actions["DeregisterTargets"] = target_health.register, target_health.deregister
    actions["DescribeRules"] = partial(_known_rules, actions["DescribeRules"])
    for name in ("CreateRule", "ModifyRule", "CreateListener", "ModifyListener"):
        prefix = "Actions" if name.endswith("Rule") else "DefaultActions"
        actions[name] = partial(_refusing, actions[name], partial(_rule_problem, prefix))
    actions["ModifyTargetGroupAttributes"] = partial(
        _refusing, actions["ModifyTargetGroupAttributes"], _attribute_problem
    )
    for name in ("CreateLoadBalancer", "SetSubnets"):
        actions[name] = partial(
            _refusing, _zoned(actions[name]), lambda params: _limit() or zones.subnet_problem(_subnets(params))
        )
    actions["DescribeLoadBalancers"] = _zoned(actions["DescribeLoadBalancers"])

    async def handled(method: str, path: str, headers: Any, body: Any, query: Any) -> Response:
        response: Response = await handle(method, path, headers, body, query)
        if method == "POST" and b"Action=Describe" not in (body if isinstance(body, bytes) else str(body).encode()):
            await asyncio.to_thread(refresh)
        return response

    async def nowhere(*_: Any, **__: Any) -> Response:
        message = "the embedded load balancer listens on its own ports; mlops local status lists them"
        return 501, {"Content-Type": "text/plain"}, message.encode()

    alb.handle_request, alb._forward_to_tg = handled, nowhere
    _complete_types()


def _limit() -> tuple[str, str] | None:
    found = settings.elsewhere("load balancers", get_account_id(), get_region())
    return None if found is None else ("ValidationError", found)


def _groups(params: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while arn := alb._p(params, f"{prefix}.member.{len(found) + 1}.TargetGroupArn"):
        weight = alb._p(params, f"{prefix}.member.{len(found) + 1}.Weight")
        found.append({"TargetGroupArn": arn, "Weight": int(weight) if weight else 1})
    return found


def _forward(action: dict[str, Any], groups: list[dict[str, Any]]) -> None:
    """Store weighted groups; the single ARN is only set with one group, as in AWS."""
    action["ForwardConfig"] = {"TargetGroups": groups}
    action.pop("TargetGroupArn", None)
    if len(groups) == 1:
        action["TargetGroupArn"] = groups[0]["TargetGroupArn"]


def _forward_xml(action: Mapping[str, Any]) -> str:
    if action.get("Type") != "forward":
        return ""
    rows = "".join(
        f"<member><TargetGroupArn>{group['TargetGroupArn']}</TargetGroupArn><Weight>{group['Weight']}</Weight></member>"
        for group in weighted(action)
    )
    off = "<TargetGroupStickinessConfig><Enabled>false</Enabled></TargetGroupStickinessConfig>"
    return f"<ForwardConfig><TargetGroups>{rows}</TargetGroups>{off}</ForwardConfig>"


def problem(actions: Sequence[Mapping[str, Any]], conditions: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return error code and message for actions or conditions that AWS or this proxy rejects, or ``None``."""
    for action in actions:
        if action.get("Type") not in {"forward", "fixed-response"}:
            return (
                "ValidationError",
                f"action {action.get('Type')!r} is not in the embedded cloud; it has forward and fixed-response",
            )
        fixed = action.get("FixedResponseConfig") or {}
        if any(character in str(value) for value in fixed.values() for character in "\r\n"):
            return "ValidationError", "a fixed response of several lines is not in the embedded cloud; write one line"
        groups = weighted(action) if action["Type"] == "forward" else []
        if action["Type"] == "forward" and not 1 <= len(groups) <= _GROUPS:
            return "ValidationError", f"an action forwards to 1 to {_GROUPS} target groups, got {len(groups)}"
        for group in groups:
            if not 0 <= int(group["Weight"]) <= _WEIGHT:
                return "ValidationError", f"The weight must be between 0 and {_WEIGHT}, got {group['Weight']}"
            if group["TargetGroupArn"] not in alb._tgs:
                return "TargetGroupNotFound", f"Target groups '{group['TargetGroupArn']}' not found"
    strange = sorted({str(row.get("Field")) for row in conditions} - set(CONDITIONS))
    if strange:
        return "ValidationError", f"conditions {strange} are not in the embedded cloud; it has {list(CONDITIONS)}"
    return None


def _rule_problem(prefix: str, params: Any) -> tuple[str, str] | None:
    found = problem(alb._parse_actions(params, prefix), alb._parse_conditions(params))
    return found or transform_problem(alb._parse_transforms(params) or [])


def transform_problem(transforms: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return error code and message for transforms that this proxy does not support, or ``None``; MiniStack checks AWS's rules.

    Example:
        >>> transform_problem([{"Type": "host-header-rewrite"}])[1]
        'of transforms the embedded cloud has url-rewrite, with one rewrite of a whole path, ^...$'
    """
    # claim: rules-rewrite-what-targets-get
    rewrites = [(each.get("UrlRewriteConfig") or {}).get("Rewrites") or [] for each in transforms]
    if all(len(each) == 1 and re.fullmatch(r"\^.*\$", str(each[0].get("Regex"))) for each in rewrites):
        return None
    return (
        "ValidationError",
        "of transforms the embedded cloud has url-rewrite, with one rewrite of a whole path, ^...$",
    )


def _attribute_problem(params: Any) -> tuple[str, str] | None:
    rows: list[dict[str, str]] = []
    while key := alb._p(params, f"Attributes.member.{len(rows) + 1}.Key"):
        rows.append({"Key": key, "Value": alb._p(params, f"Attributes.member.{len(rows) + 1}.Value")})
    return zones.attribute_problem(rows)


def _subnets(params: Any) -> list[str]:
    """Return the subnets of a request, from ``Subnets`` or ``SubnetMappings``."""
    found: list[str] = list(alb._parse_member_list(params, "Subnets"))
    while subnet := alb._p(params, f"SubnetMappings.member.{len(found) + 1}.SubnetId"):
        found.append(subnet)
    return found


def _refusing(work: Callable[[Any], Response], find: Callable[[Any], tuple[str, str] | None], params: Any) -> Response:
    found = find(params)
    refused: Response | None = None if found is None else alb._error(*found)
    return refused or work(params)


def _zoned(work: Callable[[Any], Response]) -> Callable[[Any], Response]:
    """Set each subnet's zone in a response; MiniStack uses the Region's first zone for all."""

    def zone(match: re.Match[str]) -> str:
        return f"<ZoneName>{zones.of_subnet(match[1])}</ZoneName><SubnetId>{match[1]}</SubnetId>"

    def zoned(params: Any) -> Response:
        status, headers, body = work(params)
        text = body.decode() if isinstance(body, bytes) else str(body)
        return status, headers, _ZONE.sub(zone, text).encode()

    return zoned


def _known_rules(work: Callable[[Any], Response], params: Any) -> Response:
    missing = [arn for arn in alb._parse_member_list(params, "RuleArns") if arn not in alb._rules]
    refused: Response | None = alb._error("RuleNotFound", "One or more rules not found") if missing else None
    return refused or work(params)


def _complete_types() -> None:
    """Add weighted forwarding to templates, and update proxies after changes of templates."""
    listed, handlers = provisioners._elbv2_listener_actions, provisioners._RESOURCE_HANDLERS

    def weighted(props: Mapping[str, Any], lb_arn: str | None, prop: str = "DefaultActions") -> list[dict[str, Any]]:
        # claim: forward-action-weights
        made: list[dict[str, Any]] = listed(props, lb_arn, prop)
        for entry, given in zip(made, props.get(prop) or [], strict=True):
            groups = (given.get("ForwardConfig") or {}).get("TargetGroups") or []
            if groups:
                _forward(
                    entry, [{"TargetGroupArn": g["TargetGroupArn"], "Weight": int(g.get("Weight", 1))} for g in groups]
                )
        conditions = provisioners._flatten_listener_rule_conditions(props.get("Conditions") or [])
        found = problem(made, conditions) or transform_problem(props.get("Transforms") or [])
        if found is not None:
            raise ValueError(f"{found[0]}: {found[1]}")
        return made

    provisioners._elbv2_listener_actions = weighted
    for name, find in (
        ("LoadBalancer", lambda props: _limit() or zones.subnet_problem(props.get("Subnets") or [])),
        ("TargetGroup", lambda props: zones.attribute_problem(props.get("TargetGroupAttributes") or [])),
    ):
        handler_steps.check(f"AWS::ElasticLoadBalancingV2::{name}", partial(_check_properties, find))
    for name in _TYPES:
        handler = handlers[f"AWS::ElasticLoadBalancingV2::{name}"]
        for verb in ("create", "update", "delete"):
            handler[verb] = partial(_kicked, handler[verb])


def _check_properties(
    find: Callable[[Mapping[str, Any]], tuple[str, str] | None], properties: Mapping[str, Any]
) -> None:
    # claim: forward-action-weights
    if (found := find(properties)) is not None:
        raise ValueError(f"{found[0]}: {found[1]}")


def _kicked(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = work(*args, **kwargs)
    kick()
    return result
