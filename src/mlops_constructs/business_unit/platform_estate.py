"""Network, key, approver role and cluster of a platform team's Terraform estate, read from SSM parameters at deployment."""

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._validation import check_pattern, check_range, raise_problems
from mlops_constructs.business_unit.unit_network import Network
from mlops_runtime.contracts.unit_entries import PLATFORM_PARAMETERS, platform_parameter

_TYPES = {parameter.field: parameter.type for parameter in PLATFORM_PARAMETERS}


@checked("InvalidPlatform")
@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform whose SSM parameters the module ``terraform/platform`` writes; only the parameters in use are read.

    Args:
        name: Name of the platform, as in the module.
        availability_zone_count: Number of Availability Zones of its subnets: the length of a list is only known at deployment.
            Default: 2.

    Raises:
        ValidationError: If the name or the number of zones is not allowed.

    Example:
        >>> Platform(name="retail").availability_zone_count
        2
    """

    name: str
    availability_zone_count: int = 2

    def __post_init__(self) -> None:
        problems = [
            check_pattern(
                "platform",
                self.name,
                pattern=r"[a-z][a-z0-9-]{0,30}[a-z0-9]",
                allowed="2 to 32 lower-case letters, digits or hyphens, starting with a letter",
            ),
            check_range("availability_zone_count", self.availability_zone_count, minimum=1, maximum=6),
        ]
        raise_problems("InvalidPlatform", problems)

    def network(self, scope: Construct) -> Network:
        """Return the platform's network.

        Args:
            scope: A construct of the stack that reads it.
        """
        return Network.from_shared_vpc(
            vpc_id=self._read(scope, "vpc_id"),
            availability_zones=self._read_list(scope, "availability_zones"),
            subnet_ids=self._read_list(scope, "subnet_ids"),
        )

    def key(self, scope: Construct, id: str) -> kms.IKey:
        """Return the platform's key.

        Args:
            scope: Parent.
            id: Construct id.
        """
        return kms.Key.from_key_arn(scope, id, self._read(scope, "key_arn"))

    def approver(self, scope: Construct, id: str) -> iam.IRole:
        """Return the role in which people approve models.

        Args:
            scope: Parent.
            id: Construct id.
        """
        return iam.Role.from_role_arn(scope, id, self._read(scope, "approver_role_arn"))

    def cluster_name(self, scope: Construct) -> str:
        """Return the name of the platform's EKS cluster.

        Args:
            scope: A construct of the stack that reads it.
        """
        return self._read(scope, "cluster_name")

    def cluster_security_group_id(self, scope: Construct) -> str:
        """Return the security group of the platform's EKS cluster.

        Args:
            scope: A construct of the stack that reads it.
        """
        return self._read(scope, "cluster_security_group_id")

    def _read(self, scope: Construct, field: str) -> str:
        return ssm.StringParameter.value_for_string_parameter(scope, platform_parameter(self.name, field))

    def _read_list(self, scope: Construct, field: str) -> list[str]:
        name = platform_parameter(self.name, field)
        values = ssm.StringListParameter.value_for_typed_list_parameter(scope, name, ssm.ParameterValueType.STRING)
        return [cdk.Fn.select(index, values) for index in range(self.availability_zone_count)]
