"""Log groups with the unit's key and a retention, made by the stack and never implicitly."""

import aws_cdk as cdk
from aws_cdk import aws_logs as logs

from constructs import Construct
from mlops_constructs.unit_interface import IBusinessUnit

# Control Tower's CT.CLOUDWATCH.PR.3 asks for a year at least
RETENTION = logs.RetentionDays.ONE_YEAR
_LONGEST_PATH = 256  # of a name's 512 characters


def define_log_group(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, vended_by: str | None = None
) -> logs.LogGroup:
    """Define a log group.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; gives key and removal policy.
        vended_by: Service that delivers the logs, such as ``states``. The group's name is then below
            ``/aws/vendedlogs/<vended_by>/``, where delivery needs no entry of its own in the account's resource policy of 5,120
            characters (https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html). It ends with the id that CloudFormation
            gives each stack anew, so that a group that was retained does not stand in the way of the next deployment.
            Default: CloudFormation gives a name.
    """
    name = None if vended_by is None else _vended_name(scope, id, vended_by)
    return logs.LogGroup(
        scope,
        id,
        log_group_name=name,
        encryption_key=business_unit.key,
        retention=RETENTION,
        removal_policy=business_unit.profile.removal_policy,
    )


def _vended_name(scope: Construct, id: str, service: str) -> str:
    """Return a name that is unique in the account: path, and the UUID at the end of the stack's ARN."""
    stack = cdk.Stack.of(scope)
    path = "-".join([*(part for part in scope.node.path.split("/") if part), id])
    uuid = cdk.Fn.select(2, cdk.Fn.split("/", stack.stack_id))
    return f"/aws/vendedlogs/{service}/{path[-_LONGEST_PATH:]}-{uuid}"
