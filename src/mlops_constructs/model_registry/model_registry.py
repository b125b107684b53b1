"""The registry of one model: its packages, and how they are approved."""

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from mlops_constructs._validation import check_pattern, raise_if_any
from mlops_constructs.model_registry.approval import Approval

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit

# "<unit>-<name>" is also the endpoint's name, of at most 63 characters, and the start of job names
_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
_READ = ("sagemaker:DescribeModelPackage", "sagemaker:DescribeModelPackageGroup", "sagemaker:ListModelPackages")


class ModelRegistry(Construct):
    """Define the package group of one model. Stateful.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        name: Name of the model: 2 to 20 lower-case letters, digits, hyphens; the group is ``<unit>-<name>``.
        approval: How a package that passed the gate becomes approved. Default: by a person, who hears of it on the unit's topic.

    Raises:
        ValidationError: If the name is not allowed.

    Example:
        >>> registry = ModelRegistry(self, "Registry", business_unit=unit, name="forecast", approval=Approval.automatic())
    """

    def __init__(
        self, scope: Construct, id: str, *, business_unit: "BusinessUnit", name: str, approval: Approval | None = None
    ) -> None:
        super().__init__(scope, id)
        allowed = "2 to 20 lower-case letters, digits or hyphens, starting with a letter"
        raise_if_any(self, "InvalidModelRegistry", [check_pattern("name", name, pattern=_NAME, allowed=allowed)])
        self._group_name = f"{business_unit.name}-{name}"
        self._approval = Approval.manual() if approval is None else approval
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Resource",
            model_package_group_name=self._group_name,
            model_package_group_description=f"Packages of model {name} of business unit {business_unit.name}",
        )
        group.apply_removal_policy(business_unit.profile.removal_policy)
        self._group_arn = group.attr_model_package_group_arn
        business_unit.own_registry(self)
        business_unit.tag(self)

    @property
    def group_name(self) -> str:
        """Name of the package group, ``<unit>-<name>``."""
        return self._group_name

    @property
    def group_arn(self) -> str:
        """ARN of the package group."""
        return self._group_arn

    @property
    def packages_arn(self) -> str:
        """ARN pattern of the packages in the group."""
        return cdk.Stack.of(self).format_arn(
            service="sagemaker", resource="model-package", resource_name=f"{self._group_name}/*"
        )

    @property
    def approval(self) -> Approval:
        """How a package becomes approved."""
        return self._approval

    def grant_read(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody list and read the packages.

        Args:
            grantee: Who.
        """
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=list(_READ), resource_arns=[self._group_arn, self.packages_arn]
        )

    def grant_approve(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody approve or reject a package, which starts its rollout. Never grant it to what trains models.

        Args:
            grantee: Who.
        """
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=["sagemaker:UpdateModelPackage"], resource_arns=[self.packages_arn]
        ).combine(self.grant_read(grantee))
