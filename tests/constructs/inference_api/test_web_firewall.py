"""The firewall of an API in a template: its limit of body sizes, and the inspected size."""

import json
from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest


def test_the_firewall_has_a_bound_of_our_own(signed: Any) -> None:
    """AWS's managed limit of 8 KB only counts."""
    (acl,) = signed.resources("AWS::WAFv2::WebACL").values()
    size, common, _ = acl["Rules"]

    larger, no_job = size["Statement"]["AndStatement"]["Statements"]
    assert larger["SizeConstraintStatement"]["Size"] == 64 * 1024
    assert no_job["NotStatement"]["Statement"]["ByteMatchStatement"]["SearchString"] == "/jobs"
    assert size["Action"] == {"Block": {}}
    assert common["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"] == [
        {"Name": "SizeRestrictions_BODY", "ActionToUse": {"Count": {}}}
    ]
    (link,) = signed.resources("AWS::WAFv2::WebACLAssociation").values()
    assert "/restapis/" in json.dumps(link["ResourceArn"])


@pytest.mark.parametrize(("size", "step"), [(1, 16), (16, 16), (17, 32), (48, 48), (49, 64), (64, 64)])
def test_no_more_is_read_than_the_bound_needs(make_door: Callable[..., Any], size: int, step: int) -> None:
    """Each 16 KB of inspection costs more per request."""
    door = make_door(f"size{size}")
    api = door.api(max_body_size=cdk.Size.kibibytes(size))
    endpoint = door.model("Night", name="night")
    door.file.write_text(door.file.read_text().replace('"maxItems": 50', '"maxItems": 5'))
    api.add_model("night", endpoint, request=type(door.request).from_file(door.file), max_rate=1)

    (acl,) = door.resources("AWS::WAFv2::WebACL").values()
    read = acl["AssociationConfig"]["RequestBody"]["API_GATEWAY"]["DefaultSizeInspectionLimit"]
    larger, _ = acl["Rules"][0]["Statement"]["AndStatement"]["Statements"]
    assert (read, larger["SizeConstraintStatement"]["Size"]) == (f"KB_{step}", size * 1024)
    assert larger["SizeConstraintStatement"]["FieldToMatch"] == {"Body": {"OversizeHandling": "MATCH"}}


def test_no_request_is_kept_as_a_sample(signed: Any) -> None:
    """Samples would contain tokens and keys of callers."""
    (acl,) = signed.resources("AWS::WAFv2::WebACL").values()

    kept = [acl["VisibilityConfig"], *(rule["VisibilityConfig"] for rule in acl["Rules"])]
    assert [each["SampledRequestsEnabled"] for each in kept] == [False] * 4
