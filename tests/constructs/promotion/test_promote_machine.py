"""The definition of the Promote machine: error handling, and the end of every path."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.released import SOURCE, TARGET

from mlops_constructs._state_machine import successors, tasks
from mlops_constructs.promotion.promote_machine import PromotePlan, promote_machine
from mlops_runtime.aws_api import Severity, check_machine


def _machine(*, is_automatic: bool = True, has_chat: bool = False, shares_images: bool = False) -> Mapping[str, Any]:
    message = {"TopicArn": "arn:aws:sns:eu-west-1:222222222222:people", "Message": "m"}
    plan = PromotePlan(
        unit_name="demand",
        group_name="demand-forecast",
        here=TARGET,
        source=SOURCE,
        source_name="build",
        artifacts_bucket="here",
        plan_arn="arn:aws:lambda:eu-west-1:222222222222:function:plan",
        keeper_arn="arn:aws:lambda:eu-west-1:222222222222:function:keep",
        bus_name="bus",
        topic_arn="arn:aws:sns:eu-west-1:222222222222:topic",
        is_automatic=is_automatic,
        approval_description="{% $reason %}",
        waiting_message=message,
        waiting_notification=message if has_chat else None,
        shares_images=shares_images,
    )
    return promote_machine(plan)


@pytest.mark.parametrize("is_automatic", [True, False])
@pytest.mark.parametrize("has_chat", [True, False])
@pytest.mark.parametrize("shares_images", [True, False])
def test_every_state_is_reached_and_known(is_automatic: bool, has_chat: bool, shares_images: bool) -> None:
    """AWS accepts each task's arguments."""
    machine = _machine(is_automatic=is_automatic, has_chat=has_chat, shares_images=shares_images)
    reached, found = {machine["StartAt"]}, [machine["StartAt"]]
    while found:
        for each in successors(machine["States"][found.pop()]):
            if each not in reached:
                reached.add(each)
                found.append(each)
    assert reached == set(machine["States"])
    assert [str(each) for each in check_machine(machine) if each.severity is Severity.ERROR] == []


def test_every_task_has_an_end_and_a_way_out() -> None:
    """Tasks have timeout, retry and Catch; a copy's Catch is the Map's."""
    machine = _machine()
    for name, state in tasks(machine):
        assert state["TimeoutSeconds"] > 0
        assert state["Retry"]
        assert name == "Copy" or state["Catch"][0]["ErrorEquals"] == ["States.ALL"]
    assert machine["States"]["CopyEach"]["Catch"][0]["Next"] == "NotCopied"


def test_copies_name_both_owners_and_ask_for_the_hash() -> None:
    """Expected-owner conditions reject buckets of the same name in other accounts, on both sides."""
    copies = [state["Arguments"] for _, state in tasks(_machine()) if state["Resource"].endswith("s3:copyObject")]
    assert len(copies) == 2
    for arguments in copies:
        assert arguments["ChecksumAlgorithm"] == "SHA256"
        assert arguments["ExpectedBucketOwner"] == "222222222222"
        assert arguments["ExpectedSourceBucketOwner"] == "111111111111"


def test_the_source_is_asked_for_an_image_after_the_own_registry() -> None:
    """The package names the registry with the shared image; a missing image is rejected before any copy."""
    states = _machine(shares_images=True)["States"]
    own, shared = states["FindImage"], states["FindShared"]

    assert (own["Arguments"]["RegistryId"], shared["Arguments"]["RegistryId"]) == (TARGET.account, SOURCE.account)
    assert [each["Assign"] for each in (own, shared)] == [
        {"image_registry": TARGET.account},
        {"image_registry": SOURCE.account},
    ]
    assert (own["Next"], shared["Next"]) == ("CopyEach", "CopyEach")
    assert (own["Catch"][0]["Next"], states["NoImage"]["Next"]) == ("NoImage", "FindShared")
    assert (shared["Catch"][0]["Next"], states["NoSharedImage"]["Next"]) == ("NoSharedImage", "Refused")
    assert states["Keep"]["Arguments"]["Payload"]["image_registry"] == "{% $image_registry %}"
    assert "image_registry" not in str(_machine())


def test_only_a_machine_that_may_approves() -> None:
    """Without automatic approval no state approves, whatever a function returns."""
    assert "Approve" in _machine()["States"]
    assert "Approve" not in _machine(is_automatic=False)["States"]


def test_nothing_is_registered_after_a_refusal() -> None:
    """A refusal leads only to record, message, event and end."""
    states = _machine()["States"]
    reached, found = set[str](), ["Refused", "Caught"]
    while found:
        name = found.pop()
        if name not in reached:
            reached.add(name)
            found += successors(states[name])
    assert reached == {
        "Refused", "Caught", "Record", "IsNews", "TellRefusal", "Announce", "Finish", "Done", "DidNotPromote",
    }  # fmt: skip
