"""Captured responses: permissions of the function that reads them, and the states about unreadable bodies and pairs."""

from typing import Any

import aws_cdk as cdk
from aws_cdk.assertions import Template

from mlops_constructs import BusinessUnit
from mlops_constructs._state_machine import successors
from mlops_constructs.rollout.captured_answers import (
    captured_body_states,
    define_answers,
    last_body_states,
    pair_states,
)
from mlops_runtime.contracts.serving import CaptureSpec

ARM, BAKE = captured_body_states(answers_arn="arn:answers", maximum=28800, next_state="Next")
FIRST, LAST = last_body_states(answers_arn="arn:answers", next_state="Next")
FIRST_PAIR_STATE, PAIR_STATES = pair_states(answers_arn="arn:answers")


def statements(capture: CaptureSpec) -> list[dict[str, Any]]:
    """Return the statements of the function's role."""
    stack = cdk.Stack(cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True}), "Demand")
    unit = BusinessUnit(stack, "Unit", name="demand")
    define_answers(stack, "Answers", business_unit=unit, endpoint_name="demand-forecast", capture=capture)
    found = Template.from_stack(stack).to_json()["Resources"].items()
    (policy,) = (r["Properties"] for name, r in found if name.startswith("AnswersRolePolicy"))
    return list(policy["PolicyDocument"]["Statement"])


def test_it_reads_the_captures_of_its_endpoint_alone() -> None:
    """It lists their bucket and writes nothing."""
    key = "arn:aws:kms:eu-central-1:123456789012:key/1"
    found = statements(CaptureSpec(percent=100, destination="s3://captures/capture", kms_key=key))
    ours = {s["Action"]: s for s in found if isinstance(s["Action"], str)}
    assert str(ours["s3:GetObject"]["Resource"]).endswith(":s3:::captures/capture/demand-forecast/*']]}")
    assert str(ours["s3:ListBucket"]["Resource"]).endswith(":s3:::captures']]}")
    decrypt = [s for s in found if s["Action"] == "kms:Decrypt"]
    assert [s["Resource"] for s in decrypt] == [key]
    assert "kms:ViaService" in str(decrypt[0]["Condition"])
    assert "s3:PutObject" not in str(found)


def test_every_state_leads_out() -> None:
    """During the bake they continue; at the end they continue or roll back."""
    assert ARM[1] in BAKE
    assert {name for state in BAKE.values() for name in successors(state)} == {"Next"} | set(BAKE) - {ARM[1]}
    assert {name for state in LAST.values() for name in successors(state)} == {"Next", "Revert"} | set(LAST) - {FIRST}


def test_captures_are_read_every_few_minutes() -> None:
    """Twice in a short rollout, sixty times in the longest, readable or not."""
    later = {"bodies_at": "{% $toMillis($now()) + 480000 %}"}
    assert BAKE["AskBodies"]["Assign"] == {"bodies": "{% $states.result.Payload %}", **later}
    assert BAKE["AskBodies"]["Catch"][-1]["Assign"] == later
    _, short = captured_body_states(answers_arn="arn:answers", maximum=1800, next_state="Next")
    assert "120000" in short["AskBodies"]["Assign"]["bodies_at"]


def test_captures_that_cannot_be_read_are_said_to_be() -> None:
    """The promotion's record reports it."""
    assert LAST["LastBodies"]["Catch"][-1]["Next"] == "BodiesUnknown"
    assert "could not be read" in LAST["BodiesUnknown"]["Assign"]["shown"]


def test_every_state_of_pairs_leads_out() -> None:
    """They lead to a passed shadow, to its end, or to a shadow that could not be evaluated."""
    reached = {name for state in PAIR_STATES.values() for name in successors(state)}
    assert reached == {"ShadowPassed", "EndShadow", "ShadowUnknown"} | set(PAIR_STATES) - {FIRST_PAIR_STATE}


def test_only_enough_pairs_that_show_nothing_pass() -> None:
    """Missing evidence is not success."""
    assert [name for name, state in PAIR_STATES.items() if "ShadowPassed" in successors(state)] == [
        "HasPairs",
        "PairsPassed",
    ]
    conditions = [choice["Condition"] for choice in PAIR_STATES["ArePairsGood"]["Choices"]]
    assert conditions == ["{% $pairs.pairs < $plan.min_invocations %}", "{% $pairs.passed %}"]
    assert PAIR_STATES["ArePairsGood"]["Default"] == "PairsApart"
    assert PAIR_STATES["ComparePairs"]["Catch"][-1]["Next"] == "ShadowUnknown"
