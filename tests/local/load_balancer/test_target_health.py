"""Target health: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html."""

from collections.abc import Callable
from typing import Any

from tests.local.load_balancer.conftest import ask

from mlops_local.cloud import Cloud


def _health(cloud: Cloud, arn: str) -> dict[int, tuple[str, str | None]]:
    rows = cloud.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return {row["Target"]["Port"]: (row["TargetHealth"]["State"], row["TargetHealth"].get("Reason")) for row in rows}


def test_a_target_is_checked_and_told_with_its_reason(
    cloud: Cloud, slots: dict[str, Any], target: Any, register: Any, wait_for: Callable[..., Any]
) -> None:
    """Healthy, then unhealthy with the mismatched code, then healthy again after the threshold."""
    server, arn = target("v1"), slots["blue"]
    register("blue", server)
    assert _health(cloud, arn) == {server.port: ("healthy", None)}
    cloud.clock_scale(60)
    try:
        server.health = 503
        wait_for(lambda: _health(cloud, arn) == {server.port: ("unhealthy", "Target.ResponseCodeMismatch")})
        server.health = 200
        wait_for(lambda: _health(cloud, arn) == {server.port: ("healthy", None)})
        server.stop()
        wait_for(lambda: _health(cloud, arn) == {server.port: ("unhealthy", "Target.FailedHealthChecks")})
    finally:
        cloud.clock_scale(1)


def test_a_group_that_no_rule_names_is_not_in_use(cloud: Cloud, unique: str, target: Any) -> None:
    """The page's table: unused, Target.NotInUse; a weight of 0 counts as use."""
    elb, server = cloud.client("elbv2"), target("v1")
    made = elb.create_target_group(Name=unique, Protocol="HTTP", Port=8080, TargetType="ip", VpcId="vpc-1")
    arn = made["TargetGroups"][0]["TargetGroupArn"]
    elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": "127.0.0.1", "Port": server.port}])

    assert _health(cloud, arn) == {server.port: ("unused", "Target.NotInUse")}


def test_a_slot_without_weight_is_in_use(slots: dict[str, Any], cloud: Cloud, target: Any, register: Any) -> None:
    """So it can become healthy before it gets traffic."""
    server = target("v2")

    register("green", server)

    assert _health(cloud, slots["green"]) == {server.port: ("healthy", None)}


def test_requests_go_to_every_target_when_none_is_healthy(
    cloud: Cloud, slots: dict[str, Any], target: Any, register: Any, wait_for: Callable[..., Any]
) -> None:
    """The page: "If a target group contains only unhealthy registered targets, the load balancer routes requests to all"."""
    servers = [target("v1"), target("v2")]
    register("blue", *servers)
    cloud.clock_scale(60)
    try:
        for server in servers:
            server.health = 503
        wait_for(lambda: {state for state, _ in _health(cloud, slots["blue"]).values()} == {"unhealthy"})
    finally:
        cloud.clock_scale(1)

    assert set(ask(slots["url"], 20, fresh=True)) == {(200, "v1"), (200, "v2")}


def test_a_deregistered_target_drains_for_its_delay(
    cloud: Cloud, slots: dict[str, Any], target: Any, register: Any, wait_for: Callable[..., Any]
) -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#deregistration-delay."""
    elb, arn, servers = cloud.client("elbv2"), slots["blue"], [target("v1"), target("v1")]
    register("blue", *servers)
    elb.modify_target_group_attributes(
        TargetGroupArn=arn, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "60"}]
    )

    elb.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": "127.0.0.1", "Port": servers[0].port}])

    assert _health(cloud, arn)[servers[0].port] == ("draining", "Target.DeregistrationInProgress")
    assert _health(cloud, arn)[servers[1].port] == ("healthy", None)
    cloud.clock_scale(200)
    try:
        wait_for(lambda: set(_health(cloud, arn)) == {servers[1].port})
    finally:
        cloud.clock_scale(1)


def test_two_ports_of_one_address_are_two_targets(
    cloud: Cloud, slots: dict[str, Any], target: Any, register: Any
) -> None:
    """API_RegisterTargets: "you can register the same ... IP address multiple times using different ports"."""
    one, other = target("a"), target("b")

    register("blue", one, other)
    register("blue", one)

    assert set(_health(cloud, slots["blue"])) == {one.port, other.port}
