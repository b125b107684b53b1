"""What a person sees of a package, and the requests that approve or reject it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops_runtime.aws_api.request import check_request
from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.registry.approval import ApprovalRule, approval_problems, bound_by
from mlops_runtime.registry.package import PackageError, package_request, read_package
from mlops_runtime.registry.review import approval_requests, is_settled, rejection_request, review, unapprovable

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RULE = ApprovalRule(approvers=("arn:aws:iam::123456789012:role/Approver",), timeout_seconds=7 * 86400)
ANN = "arn:aws:sts::123456789012:assumed-role/Approver/ann"
SPEC = ModelPackageSpec(
    group="demand-forecast",
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


def _described(**changes: Any) -> dict[str, Any]:
    return (
        package_request(SPEC)
        | {
            "ModelPackageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/7",
            "ModelPackageStatus": "Completed",
            "CreationTime": NOW - timedelta(days=1),
            "LastModifiedTime": NOW - timedelta(days=1),
        }
        | changes
    )


def _after(description: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    return description | request | {"LastModifiedTime": NOW, "LastModifiedBy": {"IamIdentity": {"Arn": ANN}}}


def test_a_waiting_package_may_be_approved() -> None:
    """It is shown with its version as the command names it."""
    found = review(_described(), rule=RULE, now=NOW)

    assert (found.version, found.approval, found.problems) == ("demand-forecast/7", "PendingManualApproval", ())
    assert (found.image, found.artifact_uri) == (SPEC.image, SPEC.artifact_uri)
    assert found.binding == found.metadata["container_sha256"]
    assert not is_settled(_described(), rule=RULE, now=NOW)


def test_what_is_approved_so_is_deployed() -> None:
    """Preflight has nothing against it, if an approver sends it."""
    (request,) = approval_requests(_described(), reason="better")
    approved = _after(_described(), request)

    assert check_request("sagemaker", "UpdateModelPackage", request) == []
    assert approval_problems(approved, read_package(approved), rule=RULE, now=NOW) == []
    assert is_settled(approved, rule=RULE, now=NOW)
    assert review(approved, rule=RULE, now=NOW).changed_by == ANN


def test_an_approval_that_does_not_count_is_given_anew_as_a_change() -> None:
    """A rollout listens to changes of the approval only."""
    (first,) = approval_requests(_described(), reason="better")
    by_nobody = _described() | first | {"LastModifiedBy": {}}

    requests = approval_requests(by_nobody, reason="in the right role")

    assert not is_settled(by_nobody, rule=RULE, now=NOW)
    assert "does not say who" in review(by_nobody, rule=RULE, now=NOW).problems[0]
    assert [r["ModelApprovalStatus"] for r in requests] == ["Rejected", "Approved"]
    assert bound_by(requests[-1]) == _described()["CustomerMetadataProperties"]["container_sha256"]


def test_every_reason_against_an_approval_is_named() -> None:
    """An image by tag, a changed training set, a package that waited too long, one that is not complete."""
    described = _described(CreationTime=NOW - timedelta(days=8), ModelPackageStatus="Failed")
    described["CustomerMetadataProperties"]["training_set_id"] = "d" * 64
    described["InferenceSpecification"]["Containers"][0]["Image"] = "repository:latest"

    problems = unapprovable(described, rule=RULE, now=NOW)

    assert [p.split(",")[0][:40] for p in problems] == [
        "Image must be named by digest",
        "it was changed after it was registered: ",
        "ModelPackageStatus must be Completed",
        "approved 8.0 days after it was registere",
    ]
    assert review(described, rule=RULE, now=NOW).problems == tuple(problems)


def test_without_a_rule_neither_person_nor_time_is_judged() -> None:
    """Of a group that no stack published."""
    old = _described(CreationTime=NOW - timedelta(days=100), ModelApprovalStatus="Approved")

    assert unapprovable(old, rule=None, now=NOW) == []
    assert is_settled(old, rule=None, now=NOW)


def test_an_approved_package_that_cannot_be_read_is_no_surprise() -> None:
    """The reasons are those of the package."""
    described = _described(ModelApprovalStatus="Approved")
    described["InferenceSpecification"]["Containers"] *= 2

    assert review(described, rule=RULE, now=NOW).problems == ("must have 1 container, got 2",)


def test_a_rejection_keeps_why() -> None:
    """Without a binding: nothing is deployed of it."""
    request = rejection_request(_described(), reason="store 7 got worse")

    assert check_request("sagemaker", "UpdateModelPackage", request) == []
    assert (request["ModelApprovalStatus"], request["ApprovalDescription"]) == ("Rejected", "store 7 got worse")
    with pytest.raises(ValueError, match="reason must not be empty"):
        rejection_request(_described(), reason=" ")


def test_a_package_that_was_changed_while_it_waited_is_not_approved() -> None:
    """Whoever did it is named, also where the hash in the metadata was written anew."""
    changed = _described(LastModifiedBy={"IamIdentity": {"Arn": ANN}})

    (problem,) = unapprovable(changed, rule=RULE, now=NOW)

    assert problem.startswith(f"{ANN} changed it at 2026-11-23 12:00:00+00:00, after it was registered")
    assert unapprovable(changed | {"ModelApprovalStatus": "Rejected"}, rule=RULE, now=NOW) == []


def test_what_was_changed_after_it_was_registered_gets_no_approval() -> None:
    """No request is made that would bind the change."""
    described = _described()
    described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] = "s3://elsewhere/model.tar.gz"
    with pytest.raises(PackageError, match=r"ModelDataUrl is now 's3://elsewhere/model\.tar\.gz'"):
        approval_requests(described, reason="better")
