"""Log groups with the unit's key and a retention, made by the stack and never implicitly."""

from typing import TYPE_CHECKING

from aws_cdk import aws_logs as logs

from constructs import Construct

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit

# Control Tower's CT.CLOUDWATCH.PR.3 asks for a year at least
RETENTION = logs.RetentionDays.ONE_YEAR


def define_log_group(
    scope: Construct, id: str, *, business_unit: "BusinessUnit", vended_name: str | None = None
) -> logs.LogGroup:
    """Define a log group.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; gives key and removal policy.
        vended_name: Last part of a name below ``/aws/vendedlogs/``, where Step Functions and others need no growing resource
            policy (https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html). Default: CloudFormation gives a name.
    """
    return logs.LogGroup(
        scope,
        id,
        log_group_name=None if vended_name is None else f"/aws/vendedlogs/{vended_name}",
        encryption_key=business_unit.key,
        retention=RETENTION,
        removal_policy=business_unit.profile.removal_policy,
    )
