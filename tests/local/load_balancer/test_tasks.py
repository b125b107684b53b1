"""Load balancer tasks of state machines, with the role of the machine.

See: https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html (``elasticloadbalancingv2``)
"""

import json
from collections.abc import Callable
from typing import Any

SDK = "arn:aws:states:::aws-sdk:elasticloadbalancingv2:"


def test_a_machine_moves_weights_of_the_rule_that_its_role_names(
    slots: dict[str, Any],
    make_role: Callable[..., str],
    allow: Callable[..., Any],
    run_machine: Callable[..., Any],
    cloud: Any,
) -> None:
    """Like the Deploy machine; another rule is denied."""
    role = make_role(allow("elasticloadbalancing:ModifyRule", resource=slots["rule"]), service="states.amazonaws.com")
    arguments = {"RuleArn": slots["rule"], "Actions": slots["actions"](90, 10)}
    ended = run_machine(role, f"{SDK}modifyRule", arguments)
    assert ended["status"] == "SUCCEEDED", (ended.get("error"), ended.get("cause"))
    (rule,) = cloud.client("elbv2").describe_rules(RuleArns=[slots["rule"]])["Rules"]
    groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
    assert {group["TargetGroupArn"]: group["Weight"] for group in groups} == {slots["blue"]: 90, slots["green"]: 10}
    other = make_role(
        allow("elasticloadbalancing:ModifyRule", resource=slots["rule"] + "x"), service="states.amazonaws.com"
    )
    denied = run_machine(other, f"{SDK}modifyRule", arguments)
    assert denied["status"] == "FAILED"
    assert denied["error"].startswith("ElasticLoadBalancingV2.")


def test_a_machine_reads_the_health_of_targets(
    slots: dict[str, Any], target: Any, register: Any, make_role: Callable[..., str], allow: Any, run_machine: Any
) -> None:
    """A list, empty and with one target."""
    role = make_role(allow("elasticloadbalancing:DescribeTargetHealth"), service="states.amazonaws.com")
    count = "{% $count($states.result.TargetHealthDescriptions[TargetHealth.State = 'healthy']) %}"
    register("green", target("one"))
    for slot, expected in (("blue", 0), ("green", 1)):
        arguments = {"TargetGroupArn": slots[slot]}
        ended = run_machine(role, f"{SDK}describeTargetHealth", arguments, Output={"healthy": count})
        assert ended["status"] == "SUCCEEDED", (ended.get("error"), ended.get("cause"))
        assert json.loads(ended["output"]) == {"healthy": expected}
