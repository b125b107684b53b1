"""The function that maintains feature tables once a day, with permissions to remove the leftovers of interrupted Athena builds."""

import json

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._functions import add_target, define_function, role_of
from mlops_constructs._roles import allow
from mlops_constructs._stack_values import stack_values
from mlops_constructs.feature_store.store_access import ROWS_TABLE
from mlops_constructs.feature_store.table_grants import TableAccess
from mlops_constructs.unit_interface import IBusinessUnit

_DAILY = cdk.Duration.days(1)
_MEMORY = 3008  # the maximum of a new account; it rewrites at most 64 MiB of files at a time
_REASON = (
    "files of tables have new names below the tables' prefixes, and Iceberg's own deletes name them; "
    "rejected: one object for all, which concurrent writers would overwrite"
)


def define_maintenance(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    tables: TableAccess,
    wheels: lambda_.ILayerVersion,
) -> lambda_.Function:
    """Define the function and its daily schedule.

    Args:
        scope: Parent.
        id: Construct id; the schedule is ``<id>Schedule``.
        tables: All tables of the store.
        wheels: The layer ``features``.
    """
    business_unit.reach(("glue",))
    function = define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="feature_maintenance",
        description=f"Keeps the tables of {tables.database} small",
        environment={
            "DATABASE": tables.database,
            "TABLES": json.dumps(list(tables.tables)),
        },
        statements=tables.maintain(),
        timeout=cdk.Duration.minutes(15),
        memory_size=_MEMORY,
        layers=[wheels],
        wildcard_reason=_REASON,
    )
    rule = events.Rule(
        scope,
        f"{id}Schedule",
        description=f"Schedule of the maintenance of {tables.database}",
        schedule=events.Schedule.rate(_DAILY),
    )
    add_target(rule, targets.LambdaFunction(function), dead_letters=business_unit.dead_letter_queue)
    return function


def let_remove_leftovers(function: lambda_.Function, *, tables: TableAccess, sets: s3.IBucket) -> None:
    """Let the function remove the leftovers of interrupted Athena builds: tables of entity rows, and staged objects.

    Args:
        tables: All tables of the store.
        sets: Bucket of training sets.
    """
    stack = stack_values(function)
    rows = stack.format_arn(service="glue", resource="table", resource_name=f"{tables.database}/{ROWS_TABLE}*")
    function.add_environment("TRAINING_SETS", f"s3://{sets.bucket_name}")
    policy = role_of(function).node.find_child("Policy")
    assert isinstance(policy, iam.ManagedPolicy)  # noqa: S101 - defined by service_role
    policy.add_statements(
        tables.names(),
        allow("glue:DeleteTable", *tables.catalog_arns()[:2], rows),
        allow(
            ["s3:ListBucket", "s3:ListBucketVersions"],
            sets.bucket_arn,
            conditions={"StringLike": {"s3:prefix": "staged/*"}},
        ),
        allow(["s3:DeleteObject", "s3:DeleteObjectVersion"], sets.arn_for_objects("staged/*")),
    )
