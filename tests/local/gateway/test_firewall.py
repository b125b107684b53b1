"""Web ACLs of stages."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.local.gateway.conftest import Api, Front
from tests.local.gateway.test_execution import OK

VISIBLE = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "m"}
BODY = {"Body": {"OversizeHandling": "MATCH"}}
NONE = [{"Priority": 0, "Type": "NONE"}]


def arn(api: Api) -> str:
    """Return the ARN of an API's stage."""
    return f"arn:aws:apigateway:us-east-1::/restapis/{api.id}/stages/live"


@pytest.fixture
def guarded(front: Front, make_api: Callable[..., Api]) -> Callable[..., Api]:
    """Make an API with rules: ``guarded({"SizeConstraintStatement": ...}, action="Count")``."""

    def guard(*statements: dict[str, Any], action: str = "Block", default: str = "Allow", **more: Any) -> Api:
        api = make_api()
        api.method("/x", {"200": {}}, **OK)
        rules = [
            {
                "Name": f"rule{place}",
                "Priority": place,
                "Statement": each,
                "VisibilityConfig": VISIBLE,
                "Action": {action: {}},
            }
            for place, each in enumerate(statements)
        ]
        client = front.cloud.client("wafv2")
        acl = client.create_web_acl(
            Name=f"acl{api.id}",
            Scope="REGIONAL",
            DefaultAction={default: {}},
            VisibilityConfig=VISIBLE,
            Rules=rules,
            **more,
        )["Summary"]["ARN"]
        api.deploy()
        client.associate_web_acl(WebACLArn=acl, ResourceArn=arn(api))
        return api

    return guard


def size(limit: int, part: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a statement that matches bodies over a size."""
    given = {"ComparisonOperator": "GT", "Size": limit, "FieldToMatch": part or BODY, "TextTransformations": NONE}
    return {"SizeConstraintStatement": given}


def test_a_default_action_may_block(guarded: Callable[..., Api]) -> None:
    """As WAF_FILTERED."""
    found = guarded(default="Block").call("/x")
    assert (found.status, found.json) == (403, {"message": "Forbidden"})


def test_a_size_rule_reads_what_is_inspected(guarded: Callable[..., Api]) -> None:
    """16 KB of a body, more by the ACL's configuration; a larger body matches according to the oversize handling."""
    small = guarded(size(1000))
    assert [small.call("/x", b"x" * count).status for count in (1000, 1001)] == [200, 403]
    large = guarded(size(32 * 1024))
    assert [large.call("/x", b"x" * 1024 * count).status for count in (16, 17)] == [200, 403]
    wide = guarded(
        size(32 * 1024), AssociationConfig={"RequestBody": {"API_GATEWAY": {"DefaultSizeInspectionLimit": "KB_64"}}}
    )
    assert [wide.call("/x", b"x" * 1024 * count).status for count in (17, 33)] == [200, 403]
    blind = guarded(size(32 * 1024, {"Body": {"OversizeHandling": "CONTINUE"}}))
    assert blind.call("/x", b"x" * 1024 * 100).status == 200


def test_a_rate_rule_counts_a_window_on_the_embedded_clock(front: Front, guarded: Callable[..., Api]) -> None:
    """By header, separately for each caller."""
    keys = [{"Header": {"Name": "x-client", "TextTransformations": NONE}}]
    rate = {"Limit": 10, "EvaluationWindowSec": 60, "AggregateKeyType": "CUSTOM_KEYS", "CustomKeys": keys}
    api = guarded({"RateBasedStatement": rate})
    assert [api.call("/x", x_client="a").status for _ in range(11)] == [200] * 10 + [403]
    assert api.call("/x", x_client="b").status == 200
    front.cloud.clock_jump(by=timedelta(seconds=61))
    assert api.call("/x", x_client="a").status == 200


def test_addresses_are_allowed_or_blocked(front: Front, guarded: Callable[..., Api]) -> None:
    """Statements can be negated and combined."""
    made = front.cloud.client("wafv2").create_ip_set(
        Name=f"here{front.api().id}", Scope="REGIONAL", IPAddressVersion="IPV4", Addresses=["127.0.0.0/8"]
    )["Summary"]["ARN"]
    here = {"IPSetReferenceStatement": {"ARN": made}}
    elsewhere = {"NotStatement": {"Statement": here}}
    assert guarded(here).call("/x").status == 403
    assert guarded(elsewhere).call("/x").status == 200
    assert guarded({"AndStatement": {"Statements": [here, elsewhere]}}).call("/x").status == 200
    assert guarded({"OrStatement": {"Statements": [here, elsewhere]}}, action="Count").call("/x").status == 200


def test_managed_groups_are_named_as_without_effect(front: Front, guarded: Callable[..., Api]) -> None:
    """The status of the cloud lists only these of the ACL."""
    group = {"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": "AWSManagedRulesCommonRuleSet"}}
    api = guarded(group, size(10))
    assert api.call("/x", b"{}").status == 200
    named = [each for each in front.cloud.status()["web_acl_rules_without_effect"] if api.id in each]
    assert named == [f"acl{api.id}/rule0 (ManagedRuleGroupStatement)"]


def test_an_association_is_a_resource(front: Front, make_api: Callable[..., Api]) -> None:
    """Deleting it opens the stage again."""
    api = make_api()
    api.method("/x", {"200": {}}, **OK)
    api.deploy()
    acl = {"Scope": "REGIONAL", "DefaultAction": {"Block": {}}, "VisibilityConfig": VISIBLE}
    association = {"ResourceArn": arn(api), "WebACLArn": {"Fn::GetAtt": ["Acl", "Arn"]}}
    template = {
        "Resources": {
            "Acl": {"Type": "AWS::WAFv2::WebACL", "Properties": acl},
            "Guard": {"Type": "AWS::WAFv2::WebACLAssociation", "Properties": association},
        }
    }
    client, wait = front.cloud.client("cloudformation"), {"Delay": 1, "MaxAttempts": 60}
    client.create_stack(StackName="guard", TemplateBody=json.dumps(template))
    client.get_waiter("stack_create_complete").wait(StackName="guard", WaiterConfig=wait)
    assert api.call("/x").status == 403
    client.delete_stack(StackName="guard")
    client.get_waiter("stack_delete_complete").wait(StackName="guard", WaiterConfig=wait)
    assert api.call("/x").status == 200


@pytest.mark.parametrize(
    ("position", "text", "status"),
    [
        ("ENDS_WITH", "/x", 403), ("STARTS_WITH", "/live", 403), ("EXACTLY", "/live/x", 403), ("CONTAINS", "ive", 403),
        ("ENDS_WITH", "/live", 200), ("STARTS_WITH", "/x", 200), ("EXACTLY", "/x", 200), ("CONTAINS", "/X", 200),
    ],
)  # fmt: skip
def test_a_byte_rule_matches_a_part_of_a_request(
    guarded: Callable[..., Api], position: str, text: str, status: int
) -> None:
    """The path includes the stage, as callers send it."""
    given = {"SearchString": text.encode(), "PositionalConstraint": position, "TextTransformations": NONE}
    api = guarded({"ByteMatchStatement": {**given, "FieldToMatch": {"UriPath": {}}}})

    assert api.call("/x").status == status


GEO: dict[str, Any] = {"GeoMatchStatement": {"CountryCodes": ["US"]}}
WORD: dict[str, Any] = {
    "ByteMatchStatement": {
        "SearchString": b"x",
        "FieldToMatch": {"Method": {}},
        "TextTransformations": NONE,
        "PositionalConstraint": "CONTAINS_WORD",
    }
}


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ({"NotStatement": {"Statement": GEO}}, 200),
        ({"NotStatement": {"Statement": WORD}}, 200),
        ({"NotStatement": {"Statement": {"AndStatement": {"Statements": [GEO, size(0)]}}}}, 200),
        ({"NotStatement": {"Statement": {"AndStatement": {"Statements": [GEO, size(100)]}}}}, 403),
        ({"OrStatement": {"Statements": [GEO, size(0)]}}, 403),
        ({"NotStatement": {"Statement": {"OrStatement": {"Statements": [GEO, size(100)]}}}}, 200),
    ],
)
def test_what_is_not_decided_decides_nothing(
    guarded: Callable[..., Api], statement: dict[str, Any], status: int
) -> None:
    """Neither directly nor negated; a combined statement is decided if its other parts suffice."""
    assert guarded(statement).call("/x", b"xx").status == status
