"""Load balancers: real traffic through a real proxy (weights, health, 503s, metrics) and the control plane.

The control plane completes MiniStack's ELBv2; botocore parses its responses.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.load_balancer.conftest import FOREIGN, OWN, SUBNETS, ask, statuses

from mlops_local.cloud import Cloud
from mlops_runtime.eks.slot_caller import HttpSession

NAMESPACE = "AWS/ApplicationELB"


def _full_name(arn: str) -> str:
    return arn.rpartition(":")[2].removeprefix("loadbalancer/")


def _dimensions(balancer: str, group: str) -> list[dict[str, str]]:
    return [
        {"Name": "LoadBalancer", "Value": _full_name(balancer)},
        {"Name": "TargetGroup", "Value": _full_name(group)},
    ]


def _fired(cloudwatch: Any, alarm: str) -> bool:
    rows = cloudwatch.describe_alarm_history(AlarmName=alarm, HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    return any("to ALARM" in row["HistorySummary"] for row in rows)


def test_weights_are_shares_of_the_requests_and_a_shift_costs_none(
    slots: dict[str, Any], target: Any, register: Any
) -> None:
    """One connection over a whole rollout: each response is 200, and each step has its share."""
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
    """Neither a page of another site nor a name whose owner points it at 127.0.0.1 has an effect."""
    register("blue", target("v1"))
    slots["set"](100, 0)
    assert statuses(slots["url"], FOREIGN) == [403] * len(FOREIGN)
    assert statuses(slots["url"], [*OWN, {"Origin": slots["url"]}]) == [200] * (len(OWN) + 1)


def test_targets_come_and_go_under_load_without_an_error(
    cloud: Cloud, slots: dict[str, Any], target: Any, register: Any, wait_for: Callable[..., Any]
) -> None:
    """A deregistered target gets no new request, and completes those it has."""
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
    """The listener's fixed response."""
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
            wait_for(lambda kind=kind: _fired(cloudwatch, f"{name}-{kind}"))
    finally:
        cloud.clock_scale(1)


def test_the_old_data_plane_says_where_to_go(cloud: Cloud, slots: dict[str, Any], target: Any, register: Any) -> None:
    """MiniStack's own path to a load balancer would ignore weights."""
    register("blue", target("v1"))
    name = _full_name(slots["balancer"]).split("/")[1]

    answers = ask(cloud.endpoint_url, 1, path=f"/_alb/{name}/invocations")

    ((status, text),) = answers
    assert status == 501
    assert "mlops local status" in text


@pytest.mark.parametrize(("protocol", "port"), [("HTTP", 8001), ("HTTPS", 8443)])
def test_a_name_and_a_port_lead_to_a_listener(
    cloud: Cloud,
    slots: dict[str, Any],
    target: Any,
    register: Any,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    port: int,
) -> None:
    """As within an AWS network, through the proxy of functions and shells; a group may be behind several listeners."""
    register("green", target("v2"))
    elb = cloud.client("elbv2")
    forward = [{"Type": "forward", "TargetGroupArn": slots["green"]}]
    elb.create_listener(LoadBalancerArn=slots["balancer"], Port=port, Protocol=protocol, DefaultActions=forward)
    name = elb.describe_load_balancers(LoadBalancerArns=[slots["balancer"]])["LoadBalancers"][0]["DNSName"]
    for variable, value in cloud.environment().items():
        monkeypatch.setenv(variable, value)
    session = HttpSession()

    own = session(f"{protocol.lower()}://{name}:{port}/invocations", b"{}", {"Content-Type": "application/json"})
    weighted = session(f"http://{name}/other", b"{}", {})

    assert (own.status_code, own.content) == (200, b"v2")
    assert (weighted.status_code, weighted.content) == (404, b"it's nobody's")


def test_a_deleted_load_balancer_answers_nobody(cloud: Cloud, slots: dict[str, Any]) -> None:
    """Its port is closed."""
    cloud.client("elbv2").delete_load_balancer(LoadBalancerArn=slots["balancer"])

    with pytest.raises(OSError, match=r"refused|reset"):
        for _ in range(100):
            ask(slots["url"], 1, path="/other")


def test_weights_are_kept_and_shown(cloud: Cloud, slots: dict[str, Any]) -> None:
    """Botocore's shape Action: ForwardConfig; TargetGroupArn is present "only if" there is one group."""
    elb = cloud.client("elbv2")

    changed = slots["set"](90, 10)["Rules"][0]

    shown = elb.describe_rules(RuleArns=[slots["rule"]])["Rules"][0]
    assert shown["Actions"] == changed["Actions"]
    (action,) = shown["Actions"]
    assert action["ForwardConfig"]["TargetGroups"] == [
        {"TargetGroupArn": slots["blue"], "Weight": 90},
        {"TargetGroupArn": slots["green"], "Weight": 10},
    ]
    assert "TargetGroupArn" not in action
    single = [{"Type": "forward", "TargetGroupArn": slots["blue"]}]
    (action,) = elb.modify_rule(RuleArn=slots["rule"], Actions=single)["Rules"][0]["Actions"]
    assert action["TargetGroupArn"] == slots["blue"]
    assert action["ForwardConfig"]["TargetGroups"] == [{"TargetGroupArn": slots["blue"], "Weight": 1}]


def test_a_rule_rewrites_the_path_that_a_target_gets(
    cloud: Cloud, slots: dict[str, Any], target: Any, register: Any, wait_for: Callable[..., Any]
) -> None:
    """Where its expression matches; conditions use the client's path, and new weights keep the transform."""
    register("blue", server := target("v1"))
    elb = cloud.client("elbv2")
    paths = [{"Field": "path-pattern", "Values": ["/invocations", "/live/invocations"]}]
    rewrite = {"Regex": "^/live/invocations$", "Replace": "/invocations"}
    rewriting = [{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [rewrite]}}]
    elb.modify_rule(RuleArn=slots["rule"], Conditions=paths, Transforms=rewriting)
    slots["set"](50, 0)
    # a rule starts a new proxy
    wait_for(lambda: set(ask(slots["url"], 1, path="/live/invocations")) == {(200, "v1")})
    server.paths.clear()

    for path in ("/live/invocations", "/invocations", "/invocations?x=1"):
        assert set(ask(slots["url"], 1, path=path)) == {(200, "v1")}
    assert set(ask(slots["url"], 1, path="/live/other")) == {(404, "it's nobody's")}

    assert server.paths == ["/invocations", "/invocations", "/invocations?x=1"]
    assert elb.describe_rules(RuleArns=[slots["rule"]])["Rules"][0]["Transforms"] == rewriting


@pytest.mark.parametrize("expression", ["/live", "^/live", "/live$"])
def test_a_rewrite_of_a_part_of_a_path_is_refused(cloud: Cloud, slots: dict[str, Any], expression: str) -> None:
    """By name: AWS's page shows rewrites of whole paths only."""
    rewriting = [
        {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": expression, "Replace": "/"}]}},
    ]
    with pytest.raises(ClientError, match="one rewrite of a whole path"):
        cloud.client("elbv2").modify_rule(RuleArn=slots["rule"], Transforms=rewriting)


def test_a_group_names_the_balancer_that_a_rule_gives_it(cloud: Cloud, slots: dict[str, Any]) -> None:
    """The shape TargetGroup: LoadBalancerArns, "the load balancer that routes traffic to this target group"."""
    groups = cloud.client("elbv2").describe_target_groups(TargetGroupArns=[slots["blue"], slots["green"]])[
        "TargetGroups"
    ]

    assert [group["LoadBalancerArns"] for group in groups] == [[slots["balancer"]]] * 2


def _forward(*groups: tuple[str, int]) -> list[dict[str, Any]]:
    rows = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in groups]
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": rows}}]


def test_what_aws_refuses_changes_nothing(cloud: Cloud, slots: dict[str, Any]) -> None:
    """API_TargetGroupTuple: weights of 0 to 999; API_ForwardActionConfig: up to five groups; unknown groups and rules."""
    elb, arn = cloud.client("elbv2"), slots["rule"]
    before = elb.describe_rules(RuleArns=[arn])["Rules"]

    for actions, code in (
        (_forward((slots["blue"], 1000)), "ValidationError"),
        (_forward((slots["blue"], 100), (f"{slots['green']}x", 0)), "TargetGroupNotFound"),
        (_forward(*[(slots["blue"], 1)] * 6), "ValidationError"),
    ):
        with pytest.raises(ClientError) as refused:
            elb.modify_rule(RuleArn=arn, Actions=actions)
        assert refused.value.response["Error"]["Code"] == code
    with pytest.raises(elb.exceptions.RuleNotFoundException):
        elb.describe_rules(RuleArns=[f"{arn}x"])
    with pytest.raises(elb.exceptions.TargetGroupNotFoundException):
        elb.register_targets(TargetGroupArn=f"{slots['blue']}x", Targets=[{"Id": "127.0.0.1"}])

    assert elb.describe_rules(RuleArns=[arn])["Rules"] == before


def test_what_the_proxy_cannot_do_is_refused(cloud: Cloud, slots: dict[str, Any]) -> None:
    """By name, instead of a rule with another effect."""
    elb, listener = cloud.client("elbv2"), slots["listener"]
    redirect = [{"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301"}}]
    query = [{"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "a", "Value": "b"}]}}]
    path = [{"Field": "path-pattern", "Values": ["/x"]}]
    lines = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200", "MessageBody": "a\nb"}}]

    for conditions, actions in ((path, redirect), (query, slots["actions"](1, 0)), (path, lines)):
        with pytest.raises(ClientError, match=r"(is|are) not in the embedded cloud"):
            elb.create_rule(ListenerArn=listener, Priority=5, Conditions=conditions, Actions=actions)


def test_a_template_has_weighted_rules(cloud: Cloud, unique: str) -> None:
    """AWS::ElasticLoadBalancingV2::ListenerRule with ForwardConfig; an update changes the weights in place."""

    def template(blue: int, green: int) -> str:
        def typed(kind: str, **properties: Any) -> dict[str, Any]:
            return {"Type": f"AWS::ElasticLoadBalancingV2::{kind}", "Properties": properties}

        group = {"Protocol": "HTTP", "Port": 8080, "TargetType": "ip", "VpcId": "vpc-1"}
        weights = [
            {"TargetGroupArn": {"Ref": "Blue"}, "Weight": blue},
            {"TargetGroupArn": {"Ref": "Green"}, "Weight": green},
        ]
        fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
        resources = {
            "Balancer": typed("LoadBalancer", Subnets=SUBNETS, Scheme="internal"),
            "Blue": typed("TargetGroup", **group), "Green": typed("TargetGroup", **group),
            "Listener": typed("Listener", LoadBalancerArn={"Ref": "Balancer"}, Port=443, Protocol="HTTP", DefaultActions=[fixed]),
            "Rule": typed(
                "ListenerRule", ListenerArn={"Ref": "Listener"}, Priority=1,
                Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
                Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}],
            ),
        }  # fmt: skip
        return json.dumps({"Resources": resources, "Outputs": {"Rule": {"Value": {"Ref": "Rule"}}}})

    cfn, elb = cloud.client("cloudformation"), cloud.client("elbv2")
    cfn.create_stack(StackName=unique, TemplateBody=template(100, 0))
    cfn.get_waiter("stack_create_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})
    rule = cfn.describe_stacks(StackName=unique)["Stacks"][0]["Outputs"][0]["OutputValue"]

    def weights() -> list[int]:
        (action,) = elb.describe_rules(RuleArns=[rule])["Rules"][0]["Actions"]
        return [group["Weight"] for group in action["ForwardConfig"]["TargetGroups"]]

    assert weights() == [100, 0]
    cfn.update_stack(StackName=unique, TemplateBody=template(25, 75))
    cfn.get_waiter("stack_update_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})
    assert weights() == [25, 75]
    reported = cloud.call("/_mlops/load-balancers")["load_balancers"]
    assert any("443" in row["listeners"] for row in reported)
    cfn.delete_stack(StackName=unique)
    cfn.get_waiter("stack_delete_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})
    with pytest.raises(elb.exceptions.RuleNotFoundException):
        elb.describe_rules(RuleArns=[rule])


def test_load_balancers_are_in_the_first_account_and_region_alone(cloud: Cloud) -> None:
    """Elsewhere they are rejected by name."""
    for place in (cloud.at("111111111111"), cloud.at(region="eu-west-1")):
        with pytest.raises(ClientError, match=r"has load balancers only in account 000000000000 and us-east-1, got"):
            place.client("elbv2").create_load_balancer(Name="elsewhere", Subnets=["subnet-1", "subnet-2"])
