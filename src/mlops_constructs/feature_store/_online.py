"""The table of the online store, and who may read it or publish to it."""

from collections.abc import Sequence

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from constructs import Construct
from mlops_constructs._roles import key_statement
from mlops_constructs._unit_resources import define_table
from mlops_constructs.unit_interface import IBusinessUnit

# as mlops_runtime.features.online_store has them, which needs pyarrow
ENTITY, EXPIRES = "entity", "expires"


def define_online_table(scope: Construct, id: str, *, business_unit: IBusinessUnit) -> dynamodb.Table:
    """Define the table that ``mlops_runtime.features.online_store.OnlineStore`` publishes to: one item an entity of any group.

    On demand, under the unit's key, recoverable; DynamoDB deletes items whose time to live is over.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
    """
    return define_table(scope, id, business_unit=business_unit, partition_key=ENTITY, ttl=EXPIRES)


def read_online_statements(
    table: dynamodb.ITable, key: kms.IKey, *, tables: Sequence[str] | None = None
) -> list[iam.PolicyStatement]:
    """Return what reading the newest rows takes.

    Args:
        table: The online table.
        key: Its key.
        tables: Names of the feature tables whose rows may be read. Default: all.
    """
    return [
        iam.PolicyStatement(
            actions=["dynamodb:BatchGetItem"], resources=[table.table_arn], conditions=_of_tables(tables)
        ),
        key_statement(key, services=["dynamodb"], actions=["kms:Decrypt"]),
    ]


def publish_online_statements(
    table: dynamodb.ITable, key: kms.IKey, *, tables: Sequence[str] | None = None
) -> list[iam.PolicyStatement]:
    """Return what publishing rows, and forgetting entities, takes.

    Args:
        table: The online table.
        key: Its key.
        tables: Names of the feature tables whose rows may be written. Default: all.
    """
    return [
        iam.PolicyStatement(
            actions=["dynamodb:DeleteItem", "dynamodb:PutItem"],
            resources=[table.table_arn],
            conditions=_of_tables(tables),
        ),
        key_statement(key, services=["dynamodb"]),
    ]


def forget_online_statements(table: dynamodb.ITable, key: kms.IKey) -> list[iam.PolicyStatement]:
    """Return what forgetting an entity takes, also by a part of its key, which a scan of the keys finds.

    Args:
        table: The online table.
        key: Its key.
    """
    return [
        iam.PolicyStatement(actions=["dynamodb:DeleteItem", "dynamodb:Scan"], resources=[table.table_arn]),
        key_statement(key, services=["dynamodb"], actions=["kms:Decrypt"]),
    ]


def _of_tables(tables: Sequence[str] | None) -> dict[str, object] | None:
    """Confine to items whose partition key begins with a table's name.

    See: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """
    if tables is None:
        return None
    return {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{table}/*" for table in tables]}}
