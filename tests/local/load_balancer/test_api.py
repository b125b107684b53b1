"""ELBv2's control plane, as far as MiniStack's is completed; responses are read by botocore."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.load_balancer.conftest import SUBNETS

from mlops_local.cloud import Cloud


def test_weights_are_kept_and_shown(cloud: Cloud, slots: dict[str, Any]) -> None:
    """Botocore's shape Action: ForwardConfig; TargetGroupArn is there "only if" there is one group."""
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
    """By name, instead of a rule that does something else than it says."""
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
    told = cloud.call("/_mlops/load-balancers")["load_balancers"]
    assert any("443" in row["listeners"] for row in told)
    cfn.delete_stack(StackName=unique)
    cfn.get_waiter("stack_delete_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})
    with pytest.raises(elb.exceptions.RuleNotFoundException):
        elb.describe_rules(RuleArns=[rule])
