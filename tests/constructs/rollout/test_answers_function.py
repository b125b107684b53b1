"""The function that reads captures: limited to the endpoint's prefix and the captures' key."""

from typing import Any

import aws_cdk as cdk
from aws_cdk.assertions import Template

from mlops_constructs import BusinessUnit
from mlops_constructs.rollout.answers_function import define_answers
from mlops_runtime.contracts.serving import CaptureSpec


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
