"""Real traffic through a real proxy: weights, health, 503s, metrics."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tests.local.load_balancer.conftest import FOREIGN, OWN, ask, statuses

from mlops_local.cloud import Cloud

NAMESPACE = "AWS/ApplicationELB"


def _full_name(arn: str) -> str:
    return arn.rpartition(":")[2].removeprefix("loadbalancer/")


def _dimensions(balancer: str, group: str) -> list[dict[str, str]]:
    return [
        {"Name": "LoadBalancer", "Value": _full_name(balancer)},
        {"Name": "TargetGroup", "Value": _full_name(group)},
    ]


def _rang(cloudwatch: Any, alarm: str) -> bool:
    rows = cloudwatch.describe_alarm_history(AlarmName=alarm, HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    return any("to ALARM" in row["HistorySummary"] for row in rows)


def test_weights_are_shares_of_the_requests_and_a_shift_costs_none(
    slots: dict[str, Any], target: Any, register: Any
) -> None:
    """One connection over a whole rollout: each answer is 200, and each step has its share."""
    register("blue", target("v1"), target("v1"))
    register("green", target("v2"))
    seen: list[tuple[int, Counter[tuple[int, str]]]] = []
    for green in (0, 10, 50, 100, 0):
        slots["set"](100 - green, green)
        seen.append((green, ask(slots["url"], 400)))

    for green, answers in seen:
        assert {status for status, _ in answers} == {200}
        # five standard deviations of a share of 400
        assert abs(answers[200, "v2"] - 4 * green) <= 5 * (400 * green / 100 * (1 - green / 100)) ** 0.5


def test_pages_of_other_sites_are_refused(slots: dict[str, Any], target: Any, register: Any) -> None:
    """And foreign names: neither a page nor a name that its owner points at 127.0.0.1 has an effect."""
    register("blue", target("v1"))
    slots["set"](100, 0)
    assert statuses(slots["url"], FOREIGN) == [403] * len(FOREIGN)
    assert statuses(slots["url"], [*OWN, {"Origin": slots["url"]}]) == [200] * (len(OWN) + 1)


def test_targets_come_and_go_under_load_without_an_error(
    cloud: Cloud, slots: dict[str, Any], target: Any, register: Any, wait_for: Callable[..., Any]
) -> None:
    """A deregistered target gets no new request; what it has, it answers."""
    servers = [target("v1"), target("v1")]
    register("blue", *servers)
    answers: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            answers.update(ask(slots["url"], 20))

    def is_quiet(server: Any) -> bool:
        before = server.asked
        stop.wait(0.2)
        return bool(server.asked == before)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        servers.append(target("v1"))
        register("blue", servers[-1])
        gone = servers.pop(0)
        rows = [{"Id": "127.0.0.1", "Port": gone.port}]
        cloud.client("elbv2").deregister_targets(TargetGroupArn=slots["blue"], Targets=rows)
        wait_for(lambda gone=gone: is_quiet(gone))
        gone.name = "late"
    stop.set()
    for thread in threads:
        thread.join()

    assert set(answers) == {(200, "v1")}


def test_a_group_without_targets_fails_its_share(slots: dict[str, Any], target: Any, register: Any) -> None:
    """A weighted group does not fail over to the other:
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#http-503-issues.
    """  # noqa: D205 - an address
    register("blue", target("v1"))
    slots["set"](50, 50)

    answers = ask(slots["url"], 200, fresh=True)

    assert {status for status, _ in answers} == {200, 503}
    slots["set"](0, 0)
    assert {status for status, _ in ask(slots["url"], 5, fresh=True)} == {503}


def test_what_no_rule_wants_gets_the_default(slots: dict[str, Any], target: Any, register: Any) -> None:
    """A fixed response of the listener."""
    register("blue", target("v1"))

    assert set(ask(slots["url"], 3, path="/other", method="GET")) == {(404, "it's nobody's")}


def test_requests_are_counted_by_group_and_an_alarm_fires(
    cloud: Cloud, slots: dict[str, Any], target: Any, register: Any, wait_for: Callable[..., Any]
) -> None:
    """Names and dimensions of load-balancer-cloudwatch-metrics.html, p99 of TargetResponseTime among them."""
    bad = target("v2")
    bad.status = 500
    register("blue", target("v1"))
    register("green", bad)
    dimensions = {slot: _dimensions(slots["balancer"], slots[slot]) for slot in ("blue", "green")}
    cloudwatch, name = cloud.client("cloudwatch"), _full_name(slots["balancer"]).replace("/", "-")
    watched = {"Namespace": NAMESPACE, "Dimensions": dimensions["green"], "Period": 60, "EvaluationPeriods": 1}
    alarm = {**watched, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"}
    cloudwatch.put_metric_alarm(
        AlarmName=f"{name}-5xx", MetricName="HTTPCode_Target_5XX_Count", Statistic="Sum", Threshold=5, **alarm
    )
    cloudwatch.put_metric_alarm(
        AlarmName=f"{name}-slow", MetricName="TargetResponseTime", ExtendedStatistic="p99", Threshold=-1, **alarm
    )
    slots["set"](50, 50)

    answers = ask(slots["url"], 200)

    def total(metric: str, slot: str) -> float:
        now = cloud.clock()["epoch"]
        points = cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE, MetricName=metric, Dimensions=dimensions[slot], StartTime=now - 600, EndTime=now + 60, Period=600,
            Statistics=["Sum"],
        )["Datapoints"]  # fmt: skip
        return sum(point["Sum"] for point in points)

    wait_for(lambda: total("RequestCount", "blue") == answers[200, "v1"])
    wait_for(
        lambda: total("HTTPCode_Target_5XX_Count", "green") == answers[500, "v2"] == total("RequestCount", "green")
    )
    assert total("HTTPCode_Target_5XX_Count", "blue") == 0
    wait_for(lambda: total("HealthyHostCount", "green") >= 1)
    assert total("UnHealthyHostCount", "green") == 0
    cloud.clock_scale(120)
    try:
        for kind in ("5xx", "slow"):
            wait_for(lambda kind=kind: _rang(cloudwatch, f"{name}-{kind}"))
    finally:
        cloud.clock_scale(1)


def test_the_old_data_plane_says_where_to_go(cloud: Cloud, slots: dict[str, Any], target: Any, register: Any) -> None:
    """MiniStack's own path to a load balancer would know no weights."""
    register("blue", target("v1"))
    name = _full_name(slots["balancer"]).split("/")[1]

    answers = ask(cloud.endpoint_url, 1, path=f"/_alb/{name}/invocations")

    ((status, text),) = answers
    assert status == 501
    assert "mlops local status" in text


def test_a_deleted_load_balancer_answers_nobody(cloud: Cloud, slots: dict[str, Any]) -> None:
    """Its port is closed."""
    cloud.client("elbv2").delete_load_balancer(LoadBalancerArn=slots["balancer"])

    with pytest.raises(OSError, match=r"refused|reset"):
        for _ in range(100):
            ask(slots["url"], 1, path="/other")
