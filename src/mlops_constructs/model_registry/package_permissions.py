"""Who may read packages, and who may approve them."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._roles import ServiceRole, shared_policy
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.registry.model_package import CONTAINER_SHA256

READ = ("sagemaker:DescribeModelPackage", "sagemaker:DescribeModelPackageGroup", "sagemaker:ListModelPackages")
UPDATE = "sagemaker:UpdateModelPackage"
# the unit's boundary lets no role approve that does not carry it
APPROVES_TAG = "mlops:approves"
_REASON = (
    "packages get numbers when they are registered, below the group's name; "
    "rejected: a policy for each package, which would be written by what is to be approved"
)


def status_conditions(*statuses: str) -> dict[str, dict[str, object]]:
    """Return the conditions that an update sets the approval to one of these, and leaves alone the hash that was registered.

    One without a status does not pass. No key knows the container of a request: one that differs from the hash is refused by
    the principal that deploys it.

    See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
    """
    return {
        "StringEquals": {"sagemaker:ModelApprovalStatus": list(statuses)},
        "Null": {f"sagemaker:CustomerMetadataProperties/{CONTAINER_SHA256}": "true"},
    }


def approvals_denied() -> iam.PolicyStatement:
    """Return the denial of approvals, also of packages born approved, to every role that is not marked; for the unit's boundary.

    No role of the unit can tag a role.
    """
    return iam.PolicyStatement(
        sid="Approvals",
        effect=iam.Effect.DENY,
        actions=["sagemaker:CreateModelPackage", UPDATE],
        resources=["*"],
        conditions={
            "StringEquals": {"sagemaker:ModelApprovalStatus": "Approved"},
            # a role without the tag is not equal to it
            "StringNotEquals": {f"aws:PrincipalTag/{APPROVES_TAG}": "true"},
        },
    )


def define_approver(
    scope: Construct, id: str, *, group_name: str, group_arn: str, packages_arn: str, business_unit: IBusinessUnit
) -> iam.IRole:
    """Define the role that people approve in.

    Its trust is the account: whose own policies allow ``sts:AssumeRole`` on it may take it. The unit's roles may not, as their
    boundary has no action of STS.

    Args:
        scope: Parent.
        id: Construct id; its policy is ``<id>Policy``.
        group_name: Name of the package group.
        group_arn: ARN of the package group.
        packages_arn: ARN pattern of its packages.
        business_unit: The unit.
    """
    description = f"People who approve or reject packages of {group_name}"
    policy = shared_policy(
        scope,
        f"{id}Policy",
        description=description,
        wildcard_reason=_REASON,
        statements=[
            iam.PolicyStatement(actions=list(READ), resources=[group_arn, packages_arn]),
            iam.PolicyStatement(
                actions=[UPDATE], resources=[packages_arn], conditions=status_conditions("Approved", "Rejected")
            ),
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
    """Let the unit's boundary pass approvals of a role."""
    cdk.Tags.of(role).add(APPROVES_TAG, "true")
