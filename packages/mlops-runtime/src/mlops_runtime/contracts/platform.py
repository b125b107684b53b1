"""What a platform team's Terraform estate hands to business units: parameters of Systems Manager, by name and version.

A later version stands beside an earlier one, under its own number, until no unit reads that any more.
"""

from dataclasses import dataclass
from typing import Literal

PLATFORM_ROOT = "/mlops-platform/"
PLATFORM_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformParameter:
    """One parameter: the last part of its name, its type, the form of its value (of each, in a list) and what it is."""

    field: str
    type: Literal["String", "StringList"]
    pattern: str
    description: str
    is_required: bool = True


PLATFORM_PARAMETERS = (
    PlatformParameter(field="vpc_id", type="String", pattern="vpc-[0-9a-f]{8,17}", description="Network of the units"),
    PlatformParameter(
        field="subnet_ids",
        type="StringList",
        pattern="subnet-[0-9a-f]{8,17}",
        description="Private subnets, one a zone, in the order of the zones",
    ),
    PlatformParameter(
        field="availability_zones",
        type="StringList",
        pattern="[a-z]{2}(-[a-z]+)+-[0-9][a-z]",
        description="Zones of the subnets",
    ),
    PlatformParameter(
        field="key_arn",
        type="String",
        pattern="arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-f-]{36}",
        description="Key of all data of the units",
    ),
    PlatformParameter(
        field="approver_role_arn",
        type="String",
        pattern="arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}",
        description="Role that people approve models in",
        is_required=False,
    ),
    PlatformParameter(
        field="cluster_name",
        type="String",
        pattern="[0-9A-Za-z][A-Za-z0-9_-]{0,99}",
        description="EKS cluster of the units",
        is_required=False,
    ),
    PlatformParameter(
        field="cluster_security_group_id",
        type="String",
        pattern="sg-[0-9a-f]{8,17}",
        description="Security group of that cluster",
        is_required=False,
    ),
)


def platform_parameter(platform: str, field: str) -> str:
    """Return the name of a platform's parameter.

    Args:
        platform: Name of the platform, such as that of the estate's workspace.
        field: Which of ``PLATFORM_PARAMETERS``.

    Example:
        >>> platform_parameter("retail", "vpc_id")
        '/mlops-platform/retail/1/vpc_id'
    """
    return f"{PLATFORM_ROOT}{platform}/{PLATFORM_VERSION}/{field}"
