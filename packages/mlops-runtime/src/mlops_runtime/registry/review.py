"""What a person sees of a package and what keeps it from being approved; the request that approves or rejects it.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateModelPackage.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_runtime.registry.approval import (
    ApprovalRule,
    approval_description,
    approval_problems,
    approver,
    changed_while_pending,
    location_problems,
    rejection_description,
    timeout_problems,
)
from mlops_runtime.registry.package import PackageError, container_sha256, read_package


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One package for a person. ``problems`` keep it from being deployed: as approved if it is, else as it would be now.

    ``version`` is written ``<group>/<number>``, as the command names it. ``rule`` is absent where the group's rule is not known.
    """

    version: str
    arn: str
    status: str
    approval: str
    registered: datetime
    changed: datetime | None
    changed_by: str | None
    description: str
    metadata: Mapping[str, str]
    image: str
    artifact_uri: str
    binding: str
    problems: tuple[str, ...]
    rule: ApprovalRule | None = None


def review(description: Mapping[str, Any], *, rule: ApprovalRule | None, now: datetime) -> Review:
    """Return what a person sees of a package.

    Args:
        description: DescribeModelPackage's answer.
        rule: The group's rule; ``None`` where it is not known: who and when are not judged then.
        now: The time in the cloud.
    """
    arn = str(description["ModelPackageArn"])
    containers = description.get("InferenceSpecification", {}).get("Containers", [{}])
    metadata = dict(description.get("CustomerMetadataProperties", {}))
    return Review(
        version=arn.rpartition(":model-package/")[2],
        arn=arn,
        status=str(description.get("ModelPackageStatus", "")),
        approval=str(description.get("ModelApprovalStatus", "")),
        registered=description["CreationTime"],
        changed=description.get("LastModifiedTime"),
        changed_by=approver(description),
        description=str(description.get("ApprovalDescription", "")),
        metadata=metadata,
        image=str(containers[0].get("Image", "")),
        artifact_uri=str(containers[0].get("ModelDataUrl", "")),
        binding=container_sha256(containers[0], metadata),
        problems=tuple(_problems(description, rule, now)),
        rule=rule,
    )


def unapprovable(description: Mapping[str, Any], *, rule: ApprovalRule | None, now: datetime) -> list[str]:
    """Return everything that would keep a package from being deployed if it were approved now.

    Args:
        description: DescribeModelPackage's answer.
        rule: The group's rule; ``None`` where it is not known: time and location are not judged then.
        now: The time in the cloud.
    """
    return list(_unapprovable(description, rule, now))


def is_settled(description: Mapping[str, Any], *, rule: ApprovalRule | None, now: datetime) -> bool:
    """Return whether a package is approved, and its approval counts."""
    return description.get("ModelApprovalStatus") == "Approved" and not _problems(description, rule, now)


def approval_requests(description: Mapping[str, Any], *, reason: str) -> list[dict[str, Any]]:
    """Return the arguments of UpdateModelPackage, one call after the other, that approve a package as it is now.

    A rollout starts when the approval *changes*: one whose approval does not count is rejected first.

    Args:
        description: DescribeModelPackage's answer.
        reason: Why.

    Raises:
        ValueError: If the reason is not allowed.
        PackageError: If it cannot be deployed, such as one that was changed after it was registered.
    """
    bound = read_package(description).container_sha256
    approval = _update(description, "Approved", approval_description(reason, bound=bound))
    if description.get("ModelApprovalStatus") != "Approved":
        return [approval]
    return [_update(description, "Rejected", "to be approved anew"), approval]


def rejection_request(description: Mapping[str, Any], *, reason: str) -> dict[str, Any]:
    """Return the arguments of UpdateModelPackage that reject a package.

    Args:
        description: DescribeModelPackage's answer.
        reason: Why.

    Raises:
        ValueError: If the reason is not allowed.
    """
    return _update(description, "Rejected", rejection_description(reason))


def _update(description: Mapping[str, Any], status: str, text: str) -> dict[str, Any]:
    return {
        "ModelPackageArn": description["ModelPackageArn"],
        "ModelApprovalStatus": status,
        "ApprovalDescription": text,
    }


def _problems(description: Mapping[str, Any], rule: ApprovalRule | None, now: datetime) -> list[str]:
    if description.get("ModelApprovalStatus") != "Approved" or rule is None:
        return list(_unapprovable(description, rule, now))
    try:
        package = read_package(description)
    except PackageError as error:
        return list(error.problems)
    return approval_problems(description, package, rule=rule, now=now)


def _unapprovable(description: Mapping[str, Any], rule: ApprovalRule | None, now: datetime) -> Iterator[str]:
    try:
        read_package(description)
    except PackageError as error:
        yield from error.problems
    if description.get("ModelPackageStatus") != "Completed":
        yield f"ModelPackageStatus must be Completed, got {description.get('ModelPackageStatus')!r}"
    changer = changed_while_pending(description)
    if changer is not None:
        yield f"{changer} changed it at {description.get('LastModifiedTime')}, after it was registered; register it again"
    if rule is not None:
        yield from timeout_problems(description, rule=rule, at=now)
        yield from location_problems(description, rule=rule)
