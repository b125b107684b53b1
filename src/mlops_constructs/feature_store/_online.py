"""The table of the online store, its permissions, and the function that publishes to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._assets import layer
from mlops_constructs._functions import ARCHITECTURE, QueueConsumer, define_queue_consumer
from mlops_constructs._roles import allow, key_statement
from mlops_constructs._unit_resources import define_table
from mlops_constructs.feature_store.table_grants import TableAccess
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.group_json import declaration_json
from mlops_runtime.features.online_items import ERASED, EXPIRES, PUBLISHED
from mlops_runtime.features.online_items import KEY as ENTITY

DECLARATION = "groups.json"
_REACHED = ("glue", "kms")
_REASON = (
    "files of tables have new names below their prefixes, and items the keys of entities; "
    "rejected: one object for all, which concurrent writers would overwrite"
)


def define_online_table(scope: Construct, id: str, *, business_unit: IBusinessUnit) -> dynamodb.Table:
    """Define the table to which ``mlops_runtime.features.online_store.OnlineStore`` publishes: one item per entity of any group.

    It has on-demand capacity, the unit's key, point-in-time recovery, and a time to live.
    """
    return define_table(scope, id, business_unit=business_unit, partition_key=ENTITY, ttl=EXPIRES)


def read_online_statements(
    table: dynamodb.ITable, key: kms.IKey, *, tables: Sequence[str] | None = None
) -> list[iam.PolicyStatement]:
    """Return the permissions to read the newest rows.

    Args:
        table: The online table.
        key: Key of the table.
        tables: Names of the feature tables whose rows may be read. Default: all.
    """
    return [
        allow(
            "dynamodb:BatchGetItem",
            table.table_arn,
            conditions=_of_keys(None if tables is None else [f"{table}/*" for table in tables]),
        ),
        key_statement(key, services=["dynamodb"], actions=["kms:Decrypt"]),
    ]


def publish_online_statements(
    table: dynamodb.ITable, key: kms.IKey, *, tables: Sequence[str] | None = None
) -> list[iam.PolicyStatement]:
    """Return the permissions to publish rows and delete entities.

    Args:
        table: The online table.
        key: Key of the table.
        tables: Names of the feature tables whose rows may be written. Default: all.
    """
    named = ["*"] if tables is None else tables
    marks, generations = [f"{PUBLISHED}/{table}" for table in named], [f"{ERASED}/{table}" for table in named]
    written = None if tables is None else [*(f"{table}/*" for table in tables), *marks, *generations]
    return [
        allow(["dynamodb:DeleteItem", "dynamodb:PutItem"], table.table_arn, conditions=_of_keys(written)),
        # items that store the last published ingest and the last erasure; not rows
        allow("dynamodb:BatchGetItem", table.table_arn, conditions=_of_keys([*marks, *generations])),
        allow("dynamodb:ConditionCheckItem", table.table_arn, conditions=_of_keys(generations)),
        key_statement(key, services=["dynamodb"]),
    ]


def forget_online_statements(table: dynamodb.ITable, key: kms.IKey) -> list[iam.PolicyStatement]:
    """Return the permissions to delete an entity, also by a part of its key, which requires a scan."""
    return [
        allow(["dynamodb:DeleteItem", "dynamodb:Scan"], table.table_arn),
        # rejects publishers that read before the erasure, and marks ingests since the tables were rewritten as unpublished
        allow("dynamodb:PutItem", table.table_arn, conditions=_of_keys([f"{ERASED}/*"])),
        allow("dynamodb:UpdateItem", table.table_arn, conditions=_of_keys([f"{PUBLISHED}/*"])),
        key_statement(key, services=["dynamodb"]),
    ]


def _of_keys(patterns: Sequence[str] | None) -> dict[str, object] | None:
    """Return the condition that limits access to items with a matching partition key.

    See: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """
    return None if patterns is None else {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(patterns)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinedPublisher:
    """The function with its queue, and its layer."""

    consumer: QueueConsumer
    wheels: lambda_.ILayerVersion


def define_publisher(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    tables: TableAccess,
    groups: Sequence[FeatureGroup],
    online: dynamodb.ITable,
    wheels: lambda_.ILayerVersion | None,
) -> DefinedPublisher:
    """Define the function that publishes rows of each ingest of an online group, by any client.

    Args:
        scope: Parent.
        id: Construct id; all resources are below it.
        business_unit: The unit; missing endpoints are added to its network if it created it.
        tables: The tables of the groups.
        groups: The groups, whose declaration is part of the function's zip.
        online: The online table.
        wheels: The layer ``features``; ``None`` defines one.
    """
    home = Construct(scope, id)
    business_unit.reach(_REACHED)
    loaded = layer(home, "Layer", name="features", architecture=ARCHITECTURE) if wheels is None else wheels
    consumer = define_queue_consumer(
        home,
        "Publish",
        business_unit=business_unit,
        folder="feature_publish",
        description=f"Publishes what is ingested into {tables.database} to the online table",
        environment={
            "DATABASE": tables.database,
            "DECLARATION": DECLARATION,
            "ONLINE_TABLE": online.table_name,
        },
        statements=[
            *tables.read(),
            *publish_online_statements(online, business_unit.key, tables=tables.tables),
        ],
        timeout=cdk.Duration.minutes(5),
        memory_size=1024,
        layers=[loaded],
        files={DECLARATION: declaration_json(groups)},
        batch_size=1,  # one large ingest may need the function's whole timeout
        maximum_concurrency=2,
        wildcard_reason=_REASON,
    )
    rule = events.Rule(
        home,
        "Ingested",
        event_bus=business_unit.bus,
        description=f"Ingests of the online groups of {tables.database}",
        event_pattern=events.EventPattern(
            source=[event_source(business_unit.name)],
            detail_type=[DetailType.FEATURES_INGESTED.value],
            detail={"subject": list(tables.tables)},
        ),
    )
    consumer.feed(rule)
    return DefinedPublisher(consumer=consumer, wheels=loaded)
