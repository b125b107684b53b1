"""Fixtures: servers in place of targets, and load balancers in front of them."""

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mlops_local.cloud import Cloud

# of the default network, in the first two zones
SUBNETS = ["subnet-00000001", "subnet-00000002"]


class Target:
    """A server that returns its name, with settable health and status."""

    def __init__(self, name: str) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(outer.health)

            def do_POST(self) -> None:
                outer.asked += 1
                outer.paths.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._answer(outer.status)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(outer.name)))
                self.end_headers()
                self.wfile.write(outer.name.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self.name, self.health, self.status, self.asked = name, 200, 200, 0
        self.paths: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop responding."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def target() -> Iterator[Callable[[str], Target]]:
    """Start targets by name."""
    made: list[Target] = []

    def start(name: str) -> Target:
        made.append(Target(name))
        return made[-1]

    yield start
    for server in made:
        server.stop()


def ask(
    url: str, count: int, *, path: str = "/invocations", method: str = "POST", fresh: bool = False
) -> Counter[tuple[int, str]]:
    """Send requests on one connection, or on a new one each; return the count of each response."""
    found: Counter[tuple[int, str]] = Counter()
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    for _ in range(count):
        connection.request(method, path, b"x" * 50 if method == "POST" else None)
        answer = connection.getresponse()
        found[answer.status, answer.read().decode()] += 1
        if fresh:
            connection.close()
    connection.close()
    return found


@pytest.fixture
def slots(cloud: Cloud, unique: str) -> Iterator[dict[str, Any]]:
    """Two target groups behind one weighted rule: the ARNs of groups, rule and listener, and a setter of weights."""
    elb = cloud.client("elbv2")
    balancer = elb.create_load_balancer(Name=unique, Subnets=SUBNETS, Scheme="internal")["LoadBalancers"][0][
        "LoadBalancerArn"
    ]
    groups = {
        slot: elb.create_target_group(
            Name=f"{unique}-{slot}", Protocol="HTTP", Port=8080, TargetType="ip", VpcId="vpc-1", HealthCheckPath="/ping",
            HealthCheckIntervalSeconds=5, HealthyThresholdCount=2, UnhealthyThresholdCount=2,
        )["TargetGroups"][0]["TargetGroupArn"]
        for slot in ("blue", "green")
    }  # fmt: skip
    fixed = {"StatusCode": "404", "ContentType": "text/plain", "MessageBody": "it's nobody's"}
    default = [{"Type": "fixed-response", "FixedResponseConfig": fixed}]
    listener = elb.create_listener(LoadBalancerArn=balancer, Port=80, Protocol="HTTP", DefaultActions=default)
    listener = listener["Listeners"][0]["ListenerArn"]

    def actions(blue: int, green: int) -> list[dict[str, Any]]:
        weighted = [
            {"TargetGroupArn": groups["blue"], "Weight": blue},
            {"TargetGroupArn": groups["green"], "Weight": green},
        ]
        return [{"Type": "forward", "ForwardConfig": {"TargetGroups": weighted}}]

    path = [{"Field": "path-pattern", "Values": ["/invocations"]}]
    made = elb.create_rule(ListenerArn=listener, Priority=10, Conditions=path, Actions=actions(100, 0))
    rule = made["Rules"][0]["RuleArn"]
    reported = cloud.call("/_mlops/load-balancers")["load_balancers"]
    yield {
        **groups, "rule": rule, "listener": listener, "balancer": balancer, "actions": actions,
        "url": next(row["listeners"]["80"] for row in reported if row["arn"] == balancer),
        "set": lambda blue, green: elb.modify_rule(RuleArn=rule, Actions=actions(blue, green)),
    }  # fmt: skip
    elb.delete_load_balancer(LoadBalancerArn=balancer)
    for arn in groups.values():
        elb.delete_target_group(TargetGroupArn=arn)


@pytest.fixture
def register(cloud: Cloud, slots: dict[str, Any], wait_for: Callable[..., Any]) -> Callable[..., None]:
    """Register a target with a slot and wait until it is healthy."""
    elb = cloud.client("elbv2")

    def go(slot: str, *servers: Target) -> None:
        rows = [{"Id": "127.0.0.1", "Port": server.port} for server in servers]
        elb.register_targets(TargetGroupArn=slots[slot], Targets=rows)

        def states() -> set[str]:
            health = elb.describe_target_health(TargetGroupArn=slots[slot], Targets=rows)["TargetHealthDescriptions"]
            return {row["TargetHealth"]["State"] for row in health}

        wait_for(lambda: states() == {"healthy"})

    return go


# headers of a browser for pages of other sites and ports, and for a name whose owner points it at 127.0.0.1
FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "evil.example:80", "Origin": "http://evil.example:80"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
OWN = [{}, {"Host": "localhost"}, {"Host": "b-1.us-east-1.elb.amazonaws.com"}, {"Sec-Fetch-Site": "none"}]


def statuses(url: str, cases: list[dict[str, str]]) -> list[int]:
    """Return the status of a request for each of some headers."""
    found = []
    for headers in cases:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
        connection.request("POST", "/invocations", b"{}", headers=headers)
        found.append(connection.getresponse().status)
        connection.close()
    return found
