"""IAM's policy simulator.

See: https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud

STATUS = "sagemaker:ModelApprovalStatus"


def policy(action: str, resource: str, **conditions: Any) -> str:
    """A policy of one Allow statement."""
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [statement | ({"Condition": conditions} if conditions else {})]}
    )


def simulate(cloud: Cloud, document: str, action: str, *resources: str, **more: Any) -> dict[str, Any]:
    """Simulate one action."""
    answer = cloud.client("iam").simulate_custom_policy(
        PolicyInputList=[document], ActionNames=[action], ResourceArns=list(resources), **more
    )
    return dict(answer["EvaluationResults"][0])


def test_conditions_see_the_context(cloud: Cloud) -> None:
    """Without it the key is reported as missing."""
    document = policy("sagemaker:UpdateModelPackage", "*", StringEquals={STATUS: "Rejected"})

    def requested(*values: str) -> dict[str, Any]:
        context = [{"ContextKeyName": STATUS, "ContextKeyValues": [v], "ContextKeyType": "string"} for v in values]
        return simulate(cloud, document, "sagemaker:UpdateModelPackage", "*", ContextEntries=context)

    assert requested("Rejected")["EvalDecision"] == "allowed"
    assert requested("Approved")["EvalDecision"] == "implicitDeny"
    unknown = requested()
    assert (unknown["EvalDecision"], unknown["MissingContextValues"]) == ("implicitDeny", [STATUS])


def test_each_resource_is_decided(cloud: Cloud) -> None:
    """The action is allowed if all resources allow it."""
    document = policy("s3:GetObject", "arn:aws:s3:::mine/*")
    found = simulate(cloud, document, "s3:GetObject", "arn:aws:s3:::mine/a", "arn:aws:s3:::yours/a")

    assert found["EvalDecision"] == "implicitDeny"
    decisions = {r["EvalResourceName"]: r["EvalResourceDecision"] for r in found["ResourceSpecificResults"]}
    assert decisions == {"arn:aws:s3:::mine/a": "allowed", "arn:aws:s3:::yours/a": "implicitDeny"}


def test_a_boundary_limits(cloud: Cloud) -> None:
    """It denies what it does not allow."""
    boundary = [policy("s3:GetObject", "*")]
    document = policy("s3:*", "*")

    for action, decision in (("s3:GetObject", "allowed"), ("s3:PutObject", "implicitDeny")):
        found = simulate(cloud, document, action, "*", PermissionsBoundaryPolicyInputList=boundary)
        assert found["EvalDecision"] == decision


@pytest.mark.parametrize(("document", "action"), [("no json", "s3:GetObject"), (policy("s3:*", "*"), "s3:Get*")])
def test_what_cannot_be_asked_is_refused(cloud: Cloud, document: str, action: str) -> None:
    """An invalid policy; an action with a wildcard."""
    with pytest.raises(ClientError, match="InvalidInput"):
        simulate(cloud, document, action, "*")


def test_a_role_is_simulated_by_its_policies(
    cloud: Cloud, make_role: Callable[..., str], allow: Callable[..., dict[str, Any]]
) -> None:
    """SimulatePrincipalPolicy; a principal that is neither user nor role is rejected."""
    iam, role = cloud.client("iam"), make_role(allow("s3:GetObject"))

    def decision(action: str) -> str:
        answer = iam.simulate_principal_policy(PolicySourceArn=role, ActionNames=[action])
        return str(answer["EvaluationResults"][0]["EvalDecision"])

    assert (decision("s3:GetObject"), decision("s3:PutObject")) == ("allowed", "implicitDeny")
    with pytest.raises(ClientError, match="InvalidInput"):
        iam.simulate_principal_policy(PolicySourceArn="arn:aws:s3:::some-bucket", ActionNames=["s3:GetObject"])
