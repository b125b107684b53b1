"""What ingests batches as they arrive: bucket, rule, queue and function, and the job for large ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._assets import layer
from mlops_constructs._bucket import define_bucket
from mlops_constructs._function import ARCHITECTURE
from mlops_constructs._iam import key_statement, put_events_statement
from mlops_constructs._queue import QueueConsumer, define_queue_consumer
from mlops_constructs.feature_store._grants import TableAccess
from mlops_constructs.feature_store._ingest_job import define_job, tell_failures
from mlops_constructs.feature_store.ingest import FeatureIngest
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.features import INCOMING, REJECTED
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.group_json import declaration_json

DECLARATION = "groups.json"
# commits of one table wait for each other: more functions at once would only overtake one another
_CONCURRENCY = 5
_REACHED = ("events", "glue", "kms")
_REASON = (
    "batches, reports and files of tables have new names, below two prefixes of the incoming bucket and those of the tables; "
    "rejected: one object for all, which writers at once would overwrite"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinedIngest:
    """What was defined: the bucket that batches arrive in, its days, the function with its queue, and the roles that append."""

    bucket: s3.IBucket
    kept_days: int
    consumer: QueueConsumer
    roles: tuple[iam.IRole, ...]


def define_ingest(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    tables: TableAccess,
    groups: Sequence[FeatureGroup],
    ingest: FeatureIngest,
) -> DefinedIngest:
    """Define bucket, rule, queue and function.

    Args:
        scope: Parent.
        id: Construct id; everything stands below it.
        business_unit: The unit; its made network gets what it lacks of the endpoints that the function calls.
        tables: The tables of the groups.
        groups: The groups, whose declaration travels in the function's zip.
        ingest: What was asked for.
    """
    home = Construct(scope, id)
    bucket = define_bucket(
        home,
        "Batches",
        business_unit=business_unit,
        lifecycle_rules=[s3.LifecycleRule(id="Batches", expiration=ingest.retention)],
        event_bridge=True,
    )
    declaration = declaration_json(groups)
    business_unit.reach(_REACHED)
    large = None
    if ingest.job is not None:
        large = define_job(
            home,
            "Large",
            business_unit=business_unit,
            tables=tables,
            bucket=bucket,
            declaration=declaration,
            job=ingest.job,
        )
    consumer = define_queue_consumer(
        home,
        "Small",
        business_unit=business_unit,
        folder="feature_ingest",
        description=f"Ingests batches into {tables.database} as they arrive",
        environment={
            "DATABASE": tables.database,
            "INCOMING_BUCKET": bucket.bucket_name,
            "DECLARATION": DECLARATION,
            "MAXIMUM_MIB": str(int(ingest.max_object_size.to_mebibytes())),
            "MAXIMUM_ROWS": str(ingest.max_rows),
            "UNIT": business_unit.name,
            "EVENT_BUS": business_unit.bus.event_bus_name,
            **({} if large is None else {"GLUE_JOB": large.job.ref}),
        },
        statements=[
            *tables.write(),
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[bucket.arn_for_objects(f"{INCOMING}*")]),
            iam.PolicyStatement(actions=["s3:PutObject"], resources=[bucket.arn_for_objects(f"{REJECTED}*")]),
            put_events_statement(business_unit),
            *([] if large is None else [large.start_statement()]),
        ],
        timeout=cdk.Duration.minutes(5),
        memory_size=int(ingest.memory_size.to_mebibytes()),
        layers=[layer(home, "Layer", name="features", architecture=ARCHITECTURE)],
        files={DECLARATION: declaration},
        batch_size=1,  # a batch needs the function's memory for itself
        maximum_concurrency=_CONCURRENCY,
        wildcard_reason=_REASON,
    )
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    rule = events.Rule(
        home,
        "Delivered",
        description=f"Batches for {tables.database}",
        event_pattern=events.EventPattern(
            source=["aws.s3"],
            detail_type=["Object Created"],
            detail={"bucket": {"name": [bucket.bucket_name]}, "object": {"key": [{"prefix": INCOMING}]}},
        ),
    )
    consumer.feed(rule)
    role = consumer.function.role
    assert role is not None  # noqa: S101 - a function that is defined here has one
    if large is None:
        return DefinedIngest(bucket=bucket, kept_days=int(ingest.retention.to_days()), consumer=consumer, roles=(role,))
    tell_failures(home, large, consumer.dead_letter_queue, business_unit=business_unit)
    return DefinedIngest(
        bucket=bucket,
        kept_days=int(ingest.retention.to_days()),
        consumer=consumer,
        roles=(role, large.role),
    )


def deliver_statements(bucket: s3.IBucket, tables: TableAccess) -> list[iam.PolicyStatement]:
    """Return what it takes to put batches, and to read why one was rejected.

    Args:
        bucket: The bucket that batches arrive in.
        tables: The tables that they are for.
    """
    return [
        iam.PolicyStatement(
            actions=["s3:PutObject"],
            resources=[bucket.arn_for_objects(f"{INCOMING}{table}/*") for table in tables.tables],
        ),
        iam.PolicyStatement(
            actions=["s3:GetObject"],
            resources=[bucket.arn_for_objects(f"{REJECTED}{table}/*") for table in tables.tables],
        ),
        key_statement(tables.key, services=["s3"]),
    ]
