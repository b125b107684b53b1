"""The small proxy used where haproxy is not installed, as its own process."""

import contextlib
import http.client
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.local.load_balancer.conftest import FOREIGN, OWN, SUBNETS, Target, ask, statuses

from mlops_local.load_balancer import balancer_metrics, relay
from mlops_local.load_balancer.routing import Listener, Routing, Rule

GROUPS = ("targetgroup/blue/1", "targetgroup/green/2")


def _routing(blue: int, green: int, targets: dict[str, tuple[tuple[str, int], ...]]) -> Routing:
    rules = (
        Rule(
            paths=("/invocations", "/live/*"),
            groups=((GROUPS[0], blue), (GROUPS[1], green)),
            rewrite=("^/live/(.*)$", "/$1"),
        ),
        Rule(fixed=(404, "text/plain", "nobody")),
    )
    return Routing((Listener(80, rules),), targets)


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A relay in front of two targets, and the socket of its log lines."""
    blue, green = Target("v1"), Target("v2")
    targets = {GROUPS[0]: (("127.0.0.1", blue.port),), GROUPS[1]: (("127.0.0.1", green.port),)}
    home = tmp_path_factory.mktemp("relay")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lines, socket.create_server(("127.0.0.1", 0)) as listening:
        lines.bind(("127.0.0.1", 0))
        lines.settimeout(5)
        routing = _routing(100, 0, targets)
        proxy = relay.start(routing, {80: listening}, home=home, log_port=lines.getsockname()[1])
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield {"proxy": proxy, "url": url, "lines": lines, "targets": targets, "routing": routing, "blue": blue}
        proxy.retire()
        assert proxy._process.wait(10) == 0
    green.stop()


@pytest.fixture
def running(relayed: dict[str, Any], wait_for: Callable[..., Any]) -> dict[str, Any]:
    """The relay with all weight on the first target, and no lines waiting."""
    relayed["proxy"].update(relayed["routing"], relayed["routing"])
    wait_for(lambda: set(ask(relayed["url"], 1)) == {(200, "v1")})
    relayed["lines"].setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            relayed["lines"].recv(1000)
    relayed["lines"].settimeout(5)
    return relayed


def test_weights_are_followed_on_an_open_connection(running: dict[str, Any], wait_for: Callable[..., Any]) -> None:
    """Each request has its log line."""
    assert ask(running["url"], 20) == Counter({(200, "v1"): 20})

    running["proxy"].update(running["routing"], _routing(0, 100, running["targets"]))
    wait_for(lambda: set(ask(running["url"], 1)) == {(200, "v2")})  # the line passes through a pipe
    assert ask(running["url"], 19) == Counter({(200, "v2"): 19})

    found = [balancer_metrics.parse(running["lines"].recv(1000).decode()) for _ in range(40)]
    assert Counter(line.group for line in found if line)[GROUPS[0]] >= 20
    assert all(line is not None and line.is_answered and line.status == 200 for line in found)


def test_pages_of_other_sites_are_refused(running: dict[str, Any]) -> None:
    """Names pointed at 127.0.0.1 too."""
    assert statuses(running["url"], FOREIGN) == [403] * len(FOREIGN)
    assert statuses(running["url"], [*OWN, {"Origin": running["url"]}]) == [200] * (len(OWN) + 1)


def test_other_paths_get_the_fixed_response(running: dict[str, Any]) -> None:
    """The last rule."""
    assert ask(running["url"], 1, path="/x", method="GET") == Counter({(404, "nobody"): 1})


def test_a_rule_rewrites_the_path_that_a_target_gets(running: dict[str, Any]) -> None:
    """Where its expression matches."""
    running["blue"].paths.clear()
    for path in ("/live/invocations?x=1", "/invocations"):
        assert ask(running["url"], 1, path=path) == Counter({(200, "v1"): 1})

    assert running["blue"].paths == ["/invocations?x=1", "/invocations"]


def test_bodies_in_chunks_and_heads_alone_pass(running: dict[str, Any]) -> None:
    """Valid requests of clients."""
    connection = http.client.HTTPConnection(running["url"].removeprefix("http://"), timeout=5)
    connection.request(
        "POST", "/invocations", iter([b"a", b"bc"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"v1")
    connection.close()


def test_a_target_that_does_not_answer_is_a_502_and_none_a_503(
    running: dict[str, Any], wait_for: Callable[..., Any]
) -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html."""
    running["blue"].stop()
    assert set(ask(running["url"], 1)) == {(502, "")}

    running["proxy"].update(running["routing"], _routing(100, 0, {GROUPS[0]: (), GROUPS[1]: ()}))
    wait_for(lambda: set(ask(running["url"], 1)) == {(503, "")})

    lines = [balancer_metrics.parse(running["lines"].recv(1000).decode()) for _ in range(2)]
    assert [line.is_answered for line in lines if line] == [False, False]


def test_routing_survives_its_way_to_the_child() -> None:
    """As a line of JSON."""
    routing = _routing(3, 4, {GROUPS[0]: (("127.0.0.1", 1),), GROUPS[1]: ()})

    assert relay.read(json.dumps(relay._written(routing))) == routing


def test_a_rule_without_weight_leads_nowhere() -> None:
    """The same for a host without a rule."""
    proxy = relay.Proxy()
    proxy.routing = _routing(0, 0, {})

    assert proxy.choose(80, "any", "/invocations") == ("", None)
    assert proxy.choose(81, "any", "/invocations") == ("", None)


def test_the_cloud_takes_it_where_haproxy_is_missing(
    own_cloud: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    target: Callable[[str], Any],
    wait_for: Callable[..., Any],
) -> None:
    """Its state says so; weights and metrics equal haproxy's."""
    monkeypatch.setenv("PATH", "/nowhere")
    cloud = own_cloud()
    assert cloud.status()["load_balancing"]["engine"].startswith("asyncio relay (haproxy is not installed")
    elb = cloud.client("elbv2")
    server, balancer = target("v1"), elb.create_load_balancer(Name="small", Subnets=SUBNETS)["LoadBalancers"][0]
    group = elb.create_target_group(Name="small", Protocol="HTTP", Port=80, TargetType="ip", VpcId="vpc-1")[
        "TargetGroups"
    ][0]
    action = {"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}
    elb.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Port=80, Protocol="HTTP", DefaultActions=[action])
    elb.register_targets(TargetGroupArn=group["TargetGroupArn"], Targets=[{"Id": "127.0.0.1", "Port": server.port}])
    (row,) = cloud.status()["load_balancing"]["load_balancers"]

    wait_for(lambda: set(ask(row["listeners"]["80"], 1)) == {(200, "v1")})

    def counted() -> bool:
        metrics_ = cloud.client("cloudwatch").list_metrics(Namespace="AWS/ApplicationELB")["Metrics"]
        return {"RequestCount", "HealthyHostCount"} <= {metric["MetricName"] for metric in metrics_}

    wait_for(counted)
