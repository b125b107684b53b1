"""Overview of a registry: the newest approved version, the newest release, and versions without a decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.unit_entries import UnitEntry
from mlops_runtime.promotion.promotion_history import PromotionHistoryError, ReleasedVersion, releases
from mlops_runtime.refused_calls import DENIED, Tolerated, refusal
from mlops_runtime.registry.model_package import version_of
from mlops_runtime.registry.package_approval import RegistryEntry
from mlops_runtime.rollout.live_fleet import read_description

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.literals import ModelApprovalStatusType
    from mypy_boto3_sagemaker.type_defs import ModelPackageSummaryTypeDef

_WAITING = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedVersion:
    """The newest approved version and its time; ``model_sha256`` is None if the platform did not register it."""

    version: str
    approved_at: str
    model_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryOverview:
    """A registry without an endpoint of the unit. Versions have the form ``<group>/<number>``.

    ``is_releasing`` states whether other environments may take its releases. ``released`` is the newest release; None without one,
    or if it cannot be read for the reason in ``unread``. ``source`` is the environment whose releases it takes; None if its models
    are trained here. ``waiting`` are ARNs of the newest packages without a decision; None if they may not be listed.
    """

    group: str
    is_releasing: bool
    source: str | None = None
    approved: ApprovedVersion | None = None
    released: ReleasedVersion | None = None
    waiting: tuple[str, ...] | None = ()
    unread: str = ""


def read_registry(
    sagemaker: "SageMakerClient", s3: "S3Client | None", *, unit: UnitEntry, registry: RegistryEntry
) -> RegistryOverview:
    """Return the current state of a registry.

    Args:
        sagemaker: Client.
        s3: Client; None to skip releases.
        unit: The registry's unit.

    Raises:
        ClientError: If the caller may not read its approved packages.
    """
    released, unread = _released(s3, unit, registry)
    return RegistryOverview(
        group=registry.group,
        is_releasing=registry.releases is not None,
        source=None if registry.inbox is None else registry.inbox.source_name,
        approved=_approved(sagemaker, registry.group),
        released=released,
        waiting=waiting_packages(sagemaker, registry.group),
        unread=unread,
    )


def waiting_packages(sagemaker: "SageMakerClient", group: str) -> tuple[str, ...] | None:
    """Return the ARNs of a group's newest packages without a decision; None if they may not be listed."""
    with Tolerated(*DENIED):
        return tuple(each["ModelPackageArn"] for each in _newest(sagemaker, group, "PendingManualApproval", _WAITING))
    return None


def _newest(
    sagemaker: "SageMakerClient", group: str, approval: "ModelApprovalStatusType", most: int
) -> "Sequence[ModelPackageSummaryTypeDef]":
    with Tolerated("ValidationException", "ResourceNotFound"):
        return sagemaker.list_model_packages(
            ModelPackageGroupName=group,
            ModelApprovalStatus=approval,
            SortBy="CreationTime",
            SortOrder="Descending",
            MaxResults=most,
        )["ModelPackageSummaryList"]
    return ()  # the group was deleted with its stack


def _approved(sagemaker: "SageMakerClient", group: str) -> ApprovedVersion | None:
    newest = next(iter(_newest(sagemaker, group, "Approved", 1)), None)
    described = None if newest is None else read_description(sagemaker, newest["ModelPackageArn"])
    if newest is None or described is None:
        return None
    at = described.get("LastModifiedTime", newest["CreationTime"]).astimezone(UTC)
    return ApprovedVersion(
        version=version_of(newest["ModelPackageArn"]),
        approved_at=str(to_dict(at)),
        model_sha256=described.get("CustomerMetadataProperties", {}).get("model_sha256"),
    )


def _released(s3: "S3Client | None", unit: UnitEntry, registry: RegistryEntry) -> tuple[ReleasedVersion | None, str]:
    """Return the newest release, and the reason if it cannot be read."""
    if s3 is None or registry.releases is None:
        return None, ""
    try:
        return next(releases(s3, unit, registry.group, 1), None), ""
    except PromotionHistoryError as error:
        return None, str(error)
    except ClientError as error:
        if error.response["Error"]["Code"] not in (*DENIED, "NoSuchBucket"):
            raise
        return None, refusal(error.response["Error"], error.operation_name)
