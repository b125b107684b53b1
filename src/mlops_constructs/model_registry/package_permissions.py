"""Permissions to read and approve model packages."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._roles import ServiceRole, allow, shared_policy
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.registry.model_package import CONTAINER_SHA256

READ = ("sagemaker:DescribeModelPackage", "sagemaker:DescribeModelPackageGroup", "sagemaker:ListModelPackages")
UPDATE = "sagemaker:UpdateModelPackage"
# roles without this tag are denied approvals by the unit's permissions boundary
APPROVES_TAG = "mlops:approves"
_REASON = (
    "packages get their numbers when they are registered; "
    "rejected: a policy per package, which the pipeline that wants the approval would have to write"
)


def status_conditions(*statuses: str) -> dict[str, dict[str, object]]:
    """Return the conditions that an update sets one of these statuses and does not change the registered container hash.

    An update without a status is denied. There is no condition key for the container of a request: a rollout refuses a container
    that differs from the hash.

    See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
    """
    return {
        "StringEquals": {"sagemaker:ModelApprovalStatus": list(statuses)},
        "Null": {f"sagemaker:CustomerMetadataProperties/{CONTAINER_SHA256}": "true"},
    }


def approvals_denied() -> iam.PolicyStatement:
    """Return the boundary statement that denies approvals, also at creation of a package, to roles without the approver tag.

    No role of the unit can tag roles.
    """
    return iam.PolicyStatement(
        sid="Approvals",
        effect=iam.Effect.DENY,
        actions=["sagemaker:CreateModelPackage", UPDATE],
        resources=["*"],
        conditions={
            "StringEquals": {"sagemaker:ModelApprovalStatus": "Approved"},
            # also true for roles without the tag
            "StringNotEquals": {f"aws:PrincipalTag/{APPROVES_TAG}": "true"},
        },
    )


def define_approver(
    scope: Construct, id: str, *, group_name: str, group_arn: str, packages_arn: str, business_unit: IBusinessUnit
) -> iam.IRole:
    """Define the role in which people approve packages.

    It trusts the account, so principals whose policies allow ``sts:AssumeRole`` on it may assume it. The unit's roles may not, as
    their permissions boundary allows no STS action.

    Args:
        scope: Parent construct.
        id: Construct id; its policy is ``<id>Policy``.
        group_name: Name of the package group.
        group_arn: ARN of the package group.
        packages_arn: ARN pattern of its packages.
        business_unit: Owning business unit.
    """
    description = f"People who approve or reject packages of {group_name}"
    policy = shared_policy(
        scope,
        f"{id}Policy",
        description=description,
        wildcard_reason=_REASON,
        statements=[
            allow(READ, group_arn, packages_arn),
            allow(UPDATE, packages_arn, conditions=status_conditions("Approved", "Rejected")),
        ],
    )
    role = ServiceRole(
        scope,
        id,
        assumed_by=iam.AccountRootPrincipal(),
        business_unit=business_unit,
        permissions_boundary=business_unit.permissions_boundary,
        managed_policies=[policy],
        description=description,
    )
    mark_approver(role)
    return role


def mark_approver(role: iam.IRole) -> None:
    """Tag a role as approver, so that the unit's permissions boundary allows its approvals."""
    cdk.Tags.of(role).add(APPROVES_TAG, "true")
