"""Approving in a role, at moto's STS and SageMaker."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.registry.approval import bound_by
from mlops_runtime.registry.approver import Approver, session_name
from mlops_runtime.registry.package import package_request

CALLER = "arn:aws:sts::123456789012:assumed-role/Engineer/ann@example.com"
SPEC = ModelPackageSpec(
    group="g",
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64,
    artifact_uri="s3://artifacts/model.tar.gz",
    artifact_sha256="a" * 64,
    model_sha256="b" * 64,
    training_set_id="c" * 64,
    execution="arn:aws:states:us-east-1:123456789012:execution:Retrain:one",
    baseline_uri="s3://artifacts/baseline.json",
    baseline_sha256="8" * 64,
    evaluation_uri="s3://artifacts/evaluation.json",
)


@pytest.fixture
def approver() -> Iterator[Approver]:
    """Ann in the role of approvers."""
    with mock_aws():
        role = boto3.client("iam", "us-east-1").create_role(
            RoleName="Approver", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []})
        )
        sagemaker = boto3.client("sagemaker", "us-east-1")
        sagemaker.create_model_package_group(ModelPackageGroupName="g")
        yield Approver.in_role(
            sts=boto3.client("sts", "us-east-1"), sagemaker=sagemaker, role=role["Role"]["Arn"], caller=CALLER
        )


def _register(approver: Approver, status: str = "PendingManualApproval") -> str:
    sagemaker: Any = approver.sagemaker
    created = sagemaker.create_model_package(**package_request(SPEC, approval=status))
    return str(created["ModelPackageArn"])


def test_the_session_says_who_it_was(approver: Approver) -> None:
    """SageMaker names the session, and with it the person."""
    assert approver.identity.endswith(":assumed-role/Approver/ann@example.com")
    assert approver.sagemaker.meta.region_name == "us-east-1"


@pytest.mark.parametrize("status", ["PendingManualApproval", "Approved"])
def test_an_approval_is_bound_to_what_was_seen(approver: Approver, status: str) -> None:
    """Also one that is given anew."""
    arn = _register(approver, status)

    text = approver.approve(approver.sagemaker.describe_model_package(ModelPackageName=arn), reason="better")

    found = approver.sagemaker.describe_model_package(ModelPackageName=arn)
    assert (found["ModelApprovalStatus"], found["ApprovalDescription"]) == ("Approved", text)
    assert (
        bound_by({"ApprovalDescription": text})
        == package_request(SPEC)["CustomerMetadataProperties"]["container_sha256"]
    )


def test_a_rejection_says_why(approver: Approver) -> None:
    """And nothing more."""
    arn = _register(approver)

    approver.reject(approver.sagemaker.describe_model_package(ModelPackageName=arn), reason="worse in store 7")

    found = approver.sagemaker.describe_model_package(ModelPackageName=arn)
    assert (found["ModelApprovalStatus"], found["ApprovalDescription"]) == ("Rejected", "worse in store 7")


@pytest.mark.parametrize(
    ("caller", "name"),
    [
        (CALLER, "ann@example.com"),
        ("arn:aws:iam::123456789012:user/team/ann", "ann"),
        ("arn:aws:iam::123456789012:user/é", "--person"),
        ("arn:aws:iam::123456789012:user/" + "x" * 70, "x" * 64),
    ],
)
def test_a_session_name_is_one_that_sts_takes(caller: str, name: str) -> None:
    """2 to 64 of its characters."""
    assert session_name(caller) == name
