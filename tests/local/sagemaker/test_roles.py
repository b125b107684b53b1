"""Execution roles: https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64
SERVICE = {"Service": "sagemaker.amazonaws.com"}


def _role(plane: "Plane", name: str, principal: dict[str, str], condition: dict[str, Any]) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn: str = plane.cloud.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    return arn


def _create(plane: "Plane", name: str, role: str) -> None:
    plane.sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": IMAGE})


@pytest.mark.parametrize(
    ("name", "resource", "is_assumed"), [("any", "*", True), ("own", "model/bound*", False), ("none", "x", False)]
)
def test_role_of_a_model_may_be_bound_to_account_and_region(
    plane: "Plane", name: str, resource: str, is_assumed: bool
) -> None:
    """For inference SageMaker sends its account and ``...:*``, letter by letter, and no ARN of a model or endpoint."""
    source = f"arn:aws:sagemaker:us-east-1:000000000000:{resource}"
    condition = {"StringEquals": {"aws:SourceAccount": "000000000000"}, "ArnLike": {"aws:SourceArn": source}}
    role = _role(plane, f"bound-{name}", SERVICE, condition)
    if is_assumed:
        _create(plane, f"bound-{name}", role)
        return
    with pytest.raises(ClientError, match=f"Could not assume role {role}"):
        _create(plane, f"bound-{name}", role)


@pytest.mark.parametrize(
    ("name", "principal", "condition"),
    [
        ("other-service", {"Service": "lambda.amazonaws.com"}, {}),
        ("own-account", {"AWS": "000000000000"}, {}),
        ("other-source", SERVICE, {"StringEquals": {"aws:SourceAccount": "111111111111"}}),
    ],
)
def test_fails_on_a_role_that_does_not_trust_the_service(
    plane: "Plane", name: str, principal: dict[str, str], condition: dict[str, Any]
) -> None:
    """Another service, the account itself, or another account's resources are not enough."""
    role = _role(plane, f"untrusting-{name}", principal, condition)
    with pytest.raises(
        ClientError, match=r"exists and allows principal 'sagemaker\.amazonaws\.com' to assume the role"
    ):
        _create(plane, "untrusted", role)
