"""Packages and evidence, read at moto's SageMaker and S3; approvals in a role; training sets of packages."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from tests.runtime.registry.package_samples import SPEC as PACKAGE

from mlops_local.cloud import Cloud
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import Evaluation, GateCheck, GateResult, GateVerdict
from mlops_runtime.registry.model_package import package_request
from mlops_runtime.registry.package_approval import bound_by
from mlops_runtime.registry.package_registry import (
    Approver,
    Catalog,
    TrainedPackage,
    approval_of,
    gate_uri,
    session_name,
    trained_packages,
    training_sets_in_use,
)

PREFIX = "evaluations/demand-forecast/one"
URI = f"s3://artifacts/{PREFIX}/evaluation.json"
EVALUATION = Evaluation(
    metric="wape",
    metrics={"candidate": 0.3, "naive": 0.4},
    blocks=(),
    rows=10,
    trained_until="2017-01-01",
    holdout_from="2017-01-02",
    holdout_until="2017-02-01",
    artifact_sha256="a" * 64,
    model_sha256="b" * 64,
    training_set_id="c" * 64,
    baseline_uri="s3://artifacts/baseline.json",
    baseline_sha256="8" * 64,
)
SHA256 = hashlib.sha256(canonical_json(EVALUATION)).hexdigest()
GATE = GateResult(
    verdict=GateVerdict.PASSED,
    checks=(GateCheck(rival="naive", passed=True, low=-0.3, high=-0.2, limit=0.0, reason="better"),),
    evaluation_uri=URI,
    evaluation_sha256=SHA256,
    reason="better",
)


CALLER = "arn:aws:sts::123456789012:assumed-role/Engineer/ann@example.com"
SPEC = replace(PACKAGE, group="g")


_number = itertools.count(1)


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    """Return a bucket with one evaluation and its gate."""
    with mock_aws():
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket="artifacts")
        s3.put_object(Bucket="artifacts", Key=f"{PREFIX}/evaluation.json", Body=canonical_json(EVALUATION))
        s3.put_object(Bucket="artifacts", Key="gates/demand-forecast/one.json", Body=canonical_json(GATE))
        yield Catalog(sagemaker=boto3.client("sagemaker", "us-east-1"), s3=s3)


def _described(**metadata: str) -> dict[str, Any]:
    return {"CustomerMetadataProperties": {"evaluation_uri": URI, "evaluation_sha256": SHA256, **metadata}}


def test_the_newest_packages_come_first(catalog: Catalog) -> None:
    """Up to the requested number."""
    catalog.sagemaker.create_model_package_group(ModelPackageGroupName="demand-forecast")
    arns = [
        catalog.sagemaker.create_model_package(ModelPackageGroupName="demand-forecast", ModelPackageDescription=text)[
            "ModelPackageArn"
        ]
        for text in "abc"
    ]

    found = catalog.newest("demand-forecast", 2)

    assert [description["ModelPackageArn"] for description in found] == [arns[2], arns[1]]
    assert found[0]["ModelPackageDescription"] == "c"


def test_evidence_is_what_was_registered(catalog: Catalog) -> None:
    """Gate and evaluation, with matching hashes."""
    evidence = catalog.evidence(_described())

    assert (evidence.gate, evidence.evaluation, evidence.problems) == (GATE, EVALUATION, ())


def test_a_changed_evaluation_is_named(catalog: Catalog) -> None:
    """By the package's hash and by the gate's."""
    worse = canonical_json(replace(EVALUATION, rows=11))
    catalog.s3.put_object(Bucket="artifacts", Key=f"{PREFIX}/evaluation.json", Body=worse)

    found = hashlib.sha256(worse).hexdigest()
    registered, judged = catalog.evidence(_described()).problems

    assert registered == f"the evaluation {URI} has SHA-256 {found}, but {SHA256} is registered"
    assert judged == f"the gate's decision is about an evaluation with SHA-256 {SHA256}, but {URI} has {found}"


def test_missing_evidence_is_named(catalog: Catalog) -> None:
    """Missing objects, objects of another kind, incomplete metadata."""
    catalog.s3.delete_object(Bucket="artifacts", Key="gates/demand-forecast/one.json")
    catalog.s3.put_object(Bucket="artifacts", Key=f"{PREFIX}/evaluation.json", Body=b"{}")

    gone, other, _ = catalog.evidence(_described()).problems
    nothing = catalog.evidence({}).problems

    assert gone == "the gate's result s3://artifacts/gates/demand-forecast/one.json cannot be read: NoSuchKey"
    assert other.startswith("the evaluation is not a valid Evaluation: ")
    assert nothing == (
        "the package does not name its evaluation",
        "the package does not name its gate's result",
    )


@pytest.mark.parametrize("uri", [None, "s3://artifacts/evaluation.json", "https://x/evaluations/a/b/evaluation.json"])
def test_an_evaluation_elsewhere_has_no_gate(uri: str | None) -> None:
    """For example of a package that no pipeline registered."""
    assert gate_uri(uri) is None


@pytest.fixture
def approver() -> Iterator[Approver]:
    """Return Ann in the role of approvers."""
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
    """SageMaker records the session's name, which has the person."""
    assert approver.identity.endswith(":assumed-role/Approver/ann@example.com")
    assert approver.sagemaker.meta.region_name == "us-east-1"


@pytest.mark.parametrize("status", ["PendingManualApproval", "Approved"])
def test_an_approval_is_bound_to_what_was_seen(approver: Approver, status: str) -> None:
    """Also a repeated approval."""
    arn = _register(approver, status)

    text = approver.approve(approver.sagemaker.describe_model_package(ModelPackageName=arn), reason="better")

    found = approver.sagemaker.describe_model_package(ModelPackageName=arn)
    assert (found["ModelApprovalStatus"], found["ApprovalDescription"]) == ("Approved", text)
    assert (
        bound_by({"ApprovalDescription": text})
        == package_request(SPEC)["CustomerMetadataProperties"]["container_sha256"]
    )


def test_a_rejection_says_why(approver: Approver) -> None:
    """Without a binding."""
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


class Group:
    """A package group of its own."""

    def __init__(self, cloud: Cloud) -> None:
        self.sagemaker, self.name = cloud.client("sagemaker"), f"trained-{next(_number)}"
        self.sagemaker.create_model_package_group(ModelPackageGroupName=self.name)

    def register(self, training_set_id: str, *approvals: str, metadata: dict[str, str] | None = None) -> str:
        """Register a package and give it approvals in turn; return its version."""
        request = package_request(replace(SPEC, group=self.name, training_set_id=training_set_id))
        if metadata is not None:
            request["CustomerMetadataProperties"] = metadata
        arn: str = self.sagemaker.create_model_package(**request)["ModelPackageArn"]
        for approval in approvals:
            self.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=approval)
        return arn.rpartition(":model-package/")[2]


@pytest.fixture
def group(cloud: Cloud) -> Group:
    """Return an empty group."""
    return Group(cloud)


def test_sets_of_approved_packages_are_in_use(group: Group, cloud: Cloud) -> None:
    """Neither pending nor rejected ones, also of several groups."""
    other = Group(cloud)
    group.register("1" * 64)
    group.register("2" * 64, "Approved")
    group.register("3" * 64, "Approved", "Rejected")
    other.register("4" * 64, "Approved")

    assert training_sets_in_use(group.sagemaker, [group.name, other.name, group.name]) == {"2" * 64, "4" * 64}
    assert training_sets_in_use(group.sagemaker, [group.name]) == {"2" * 64}
    assert training_sets_in_use(group.sagemaker, []) == frozenset()


def test_packages_say_what_they_were_trained_from(group: Group) -> None:
    """The newest first; a manually registered package has none."""
    first = group.register("1" * 64, "Approved")
    group.register("2" * 64, metadata={"owner": "ann"})
    third = group.register("3" * 64)

    found = trained_packages(group.sagemaker, [group.name])

    assert set(found) == {
        TrainedPackage(version=first, approval="Approved", training_set_id="1" * 64),
        TrainedPackage(version=third, approval="PendingManualApproval", training_set_id="3" * 64),
    }
    assert len(found) == 2


def test_more_packages_than_a_page_holds(group: Group) -> None:
    """All are read; ``most`` limits the calls."""
    ids = {f"{number:064x}" for number in range(103)}
    for training_set_id in ids:
        group.register(training_set_id, "Approved")

    assert training_sets_in_use(group.sagemaker, [group.name]) == ids
    assert len(trained_packages(group.sagemaker, [group.name], most=5)) == 5


def test_a_package_that_was_deleted_has_no_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other error is raised."""
    with mock_aws():
        sagemaker: Any = boto3.client("sagemaker", region_name="us-east-1")

        def refuse(code: str, message: str) -> None:
            def call(**arguments: Any) -> Any:
                raise ClientError({"Error": {"Code": code, "Message": message}}, f"Describe {arguments}")

            monkeypatch.setattr(sagemaker, "describe_model_package", call)

        monkeypatch.setattr(sagemaker, "describe_model_package", lambda **_: {"ModelApprovalStatus": "Approved"})
        assert approval_of(sagemaker, "arn") == "Approved"
        refuse("ValidationException", "ModelPackage arn does not exist.")
        assert approval_of(sagemaker, "arn") is None
        refuse("AccessDeniedException", "not allowed")
        with pytest.raises(ClientError, match="not allowed"):
            approval_of(sagemaker, "arn")
