"""Which training sets the registry's model packages were trained from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.literals import ModelApprovalStatusType

MOST_PACKAGES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPackage:
    """A model package and the id of the training set that it was trained from; ``version`` is ``<group>/<number>``."""

    version: str
    approval: str
    training_set_id: str


def trained_packages(
    sagemaker: "SageMakerClient",
    groups: Iterable[str],
    *,
    approval: "ModelApprovalStatusType | None" = None,
    most: int = MOST_PACKAGES,
) -> tuple[TrainedPackage, ...]:
    """Return the packages that say what they were trained from, the newest of each group first.

    Args:
        sagemaker: Client.
        groups: Names of model package groups.
        approval: Only those of this status. Default: all.
        most: How many of a group at most; each takes a call. Default: 1000.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListModelPackages.html
    """
    found = []
    for group in dict.fromkeys(groups):
        pages = sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group,
            ModelPackageType="Versioned",
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"MaxItems": most},
            **({} if approval is None else {"ModelApprovalStatus": approval}),
        )
        for summary in (summary for page in pages for summary in page["ModelPackageSummaryList"]):
            # the summary has no metadata
            description = sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
            training_set_id = description.get("CustomerMetadataProperties", {}).get("training_set_id")
            if training_set_id:
                found.append(
                    TrainedPackage(
                        version=description["ModelPackageArn"].rpartition(":model-package/")[2],
                        approval=description["ModelApprovalStatus"],
                        training_set_id=training_set_id,
                    )
                )
    return tuple(found)


def training_sets_in_use(sagemaker: "SageMakerClient", groups: Iterable[str]) -> frozenset[str]:
    """Return the ids of the training sets of approved packages: these serve, or a rollback may let them serve again.

    A package that was rejected after it was promoted serves until it is replaced: the endpoint's live pointer names its set.

    Args:
        sagemaker: Client.
        groups: Names of model package groups.
    """
    packages = trained_packages(sagemaker, groups, approval="Approved")
    return frozenset(package.training_set_id for package in packages)
