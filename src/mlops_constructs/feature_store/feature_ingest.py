"""Ingest of delivered batches: by a function, or by a Glue job for batches that are too large for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sqs as sqs

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._assets import glue_archive, job_package, layer, text_file
from mlops_constructs._functions import ARCHITECTURE, QueueConsumer, define_queue_consumer, deliver
from mlops_constructs._roles import ServiceRole, allow, key_statement, put_events_statement, service_role
from mlops_constructs._stack_values import stack_values
from mlops_constructs._unit_resources import define_bucket
from mlops_constructs._validation import check_duration, check_size, check_whole, raise_problems
from mlops_constructs.feature_store.table_grants import TableAccess
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.features import INCOMING, REJECTED
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.group_json import declaration_json

# idempotency keys are remembered at least as long, so that a retained batch is never ingested twice
REMEMBERED_DAYS = 90
_WORKER_TYPES = ("G.1X", "G.2X", "G.4X", "G.8X")


GLUE_VERSION = "5.0"
_MODULE = "ingest_spark"
# Glue treats SystemExit as a failure, even with code 0
_SCRIPT = f"""import sys

from mlops_runtime.jobs.{_MODULE} import main

code = main(sys.argv[1:])
if code:
    sys.exit(code)
"""
# https://docs.aws.amazon.com/glue/latest/dg/start-development-vpc.html: logs are sent through the job's network too
_REACHED = ("events", "glue", "logs")
# https://docs.aws.amazon.com/glue/latest/dg/create-service-policy.html: actions of Glue with the job's role for its network
_NETWORK = (
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcEndpoints",
)
_REASON = (
    "network interfaces have no name before they are created, Glue names the log groups, and batches, reports and files have new "
    "names below their prefixes; rejected: AWSGlueServiceRole, which grants more, and a job outside the network"
)


DECLARATION = "groups.json"
# commits to one table wait for each other: with more functions they would only conflict
_CONCURRENCY = 5
_FUNCTION_REACHED = ("events", "glue", "kms")
_FUNCTION_REASON = (
    "batches, reports and files of tables have new names, below two prefixes of the incoming bucket and those of the tables; "
    "rejected: one object for all, which concurrent writers would overwrite"
)


@checked("InvalidGlueIngestJob")
@dataclass(frozen=True, slots=True, kw_only=True)
class GlueIngestJob:
    """A Glue Spark job for batches that exceed the limits of the function.

    Args:
        worker_type: Worker type. Default: ``G.1X``, four vCPUs and 16 GB.
        number_of_workers: Number of workers, at least two, including the driver. Default: 3.
        timeout: Longest run, from 5 minutes to 24 hours. Default: 2 hours.
        max_concurrent_runs: Maximum of concurrent runs; further batches wait in the queue, and finally go to its dead-letter queue.
            Default: 3.

    Raises:
        ValidationError: If a number is not allowed; with every problem.

    Example:
        >>> GlueIngestJob(number_of_workers=10).worker_type
        'G.1X'
    """

    worker_type: Literal["G.1X", "G.2X", "G.4X", "G.8X"] = "G.1X"
    number_of_workers: int = 3
    timeout: cdk.Duration = field(default_factory=lambda: cdk.Duration.hours(2))
    max_concurrent_runs: int = 3

    def __post_init__(self) -> None:
        problems = [
            check_whole("number_of_workers", self.number_of_workers, minimum=2, maximum=299),
            check_duration(
                "timeout",
                self.timeout,
                minimum=cdk.Duration.minutes(5),
                maximum=cdk.Duration.hours(24),
                whole="minutes",
            ),
            check_whole("max_concurrent_runs", self.max_concurrent_runs, minimum=1, maximum=50),
            None
            if self.worker_type in _WORKER_TYPES
            else f"worker_type must be one of {', '.join(_WORKER_TYPES)}, got {self.worker_type!r}",
        ]
        raise_problems("InvalidGlueIngestJob", problems)


@checked("InvalidFeatureIngest")
@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureIngest:
    """Ingest of batches from Parquet objects ``incoming/<table>/<idempotency key>.parquet`` in a bucket, as they arrive.

    The function's wheels are a layer: ``"build": "mlops assets build --layer monitor --layer features"`` in ``cdk.json``.

    Args:
        max_rows: Maximum rows of a batch; larger batches are handled by ``job``. Default: 1,000,000.
        max_object_size: Maximum size of a batch, of the object and decompressed, whole MiB from 1 to 512; its rows in memory may
            need three times as much. Default: 64 MiB.
        memory_size: Memory of the function, whole MiB from 1,024 to 10,240; a million rows of eight doubles took 0.8 GB.
            Default: 3,008 MiB, the maximum of a new account.
        job: Glue job for batches that exceed the limits. Default: such batches are rejected.
        retention: Time after which delivered batches and reports of rejected ones expire, whole days from 1 to 90.
            Default: 30 days.

    Raises:
        ValidationError: If a number is not allowed; with every problem.

    Example:
        >>> FeatureIngest(max_rows=200_000).max_object_size.to_mebibytes()
        64
    """

    max_rows: int = 1_000_000
    max_object_size: cdk.Size = field(default_factory=lambda: cdk.Size.mebibytes(64))
    memory_size: cdk.Size = field(default_factory=lambda: cdk.Size.mebibytes(3008))
    retention: cdk.Duration = field(default_factory=lambda: cdk.Duration.days(30))
    job: GlueIngestJob | None = None

    def __post_init__(self) -> None:
        mebibytes = cdk.Size.mebibytes
        problems = [
            check_whole("max_rows", self.max_rows, minimum=1, maximum=100_000_000),
            check_size("max_object_size", self.max_object_size, minimum=mebibytes(1), maximum=mebibytes(512)),
            check_size("memory_size", self.memory_size, minimum=mebibytes(1024), maximum=mebibytes(10240)),
            check_duration(
                "retention",
                self.retention,
                minimum=cdk.Duration.days(1),
                maximum=cdk.Duration.days(REMEMBERED_DAYS),
                whole="days",
            ),
        ]
        raise_problems("InvalidFeatureIngest", problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinedJob:
    """The job and its role."""

    job: glue.CfnJob
    role: ServiceRole

    def start_statement(self) -> iam.PolicyStatement:
        """Return a statement that allows starting a run."""
        stack = stack_values(self.job)
        arn = stack.format_arn(service="glue", resource="job", resource_name=self.job.ref)
        return allow("glue:StartJobRun", arn)


def define_job(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    tables: TableAccess,
    bucket: s3.IBucket,
    declaration: str,
    job: GlueIngestJob,
) -> DefinedJob:
    """Define the job and its role.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; missing endpoints are added to its network if it created it.
        tables: The tables of the groups.
        bucket: Incoming bucket.
        declaration: The groups as JSON.
        job: Configuration of the job.
    """
    home = Construct(scope, id)
    business_unit.reach(_REACHED)
    script = s3_assets.Asset(home, "Script", path=str(text_file("ingest.py", _SCRIPT)))
    package = s3_assets.Asset(home, "Package", path=str(job_package(_MODULE)))
    wheels = s3_assets.Asset(home, "Wheels", path=str(glue_archive("features").resolve()))
    groups = s3_assets.Asset(home, "Declaration", path=str(text_file("groups.json", declaration)))
    connection = define_job_connection(home, business_unit, "ingests")
    role = service_role(
        home,
        "Role",
        service="glue.amazonaws.com",
        business_unit=business_unit,
        description=f"Ingests large batches into {tables.database}",
        wildcard_reason=_REASON,
        statements=[
            *tables.write(),
            # data files of an attempt whose commit failed, which nothing refers to; noncurrent versions stay
            allow("s3:DeleteObject", *tables.objects("data/*")),
            allow(
                "s3:GetObject",
                bucket.arn_for_objects(f"{INCOMING}*"),
                *(asset.bucket.arn_for_objects(asset.s3_object_key) for asset in (script, package, wheels, groups)),
            ),
            allow("s3:PutObject", bucket.arn_for_objects(f"{REJECTED}*")),
            put_events_statement(business_unit),
            *job_service_statements(home, connection),
        ],
    )
    made = glue.CfnJob(
        home,
        "Job",
        description=f"Ingests batches into {tables.database} that are too large for the function",
        command=glue.CfnJob.JobCommandProperty(
            name="glueetl", python_version="3", script_location=script.s3_object_url
        ),
        glue_version=GLUE_VERSION,
        worker_type=job.worker_type,
        number_of_workers=job.number_of_workers,
        timeout=int(job.timeout.to_minutes(integral=False)),
        max_retries=0,  # the queue and its redrive retry: Glue would also retry a batch that fails its checks
        execution_property=glue.CfnJob.ExecutionPropertyProperty(max_concurrent_runs=job.max_concurrent_runs),
        role=role.role_arn,
        security_configuration=define_job_encryption(home, business_unit, f"{tables.database}-ingest").ref,
        connections=glue.CfnJob.ConnectionsListProperty(connections=[connection.ref]),
        default_arguments={
            "--additional-python-modules": wheels.s3_object_url,
            "--database": tables.database,
            "--declaration_uri": groups.s3_object_url,
            "--event_bus": business_unit.bus.event_bus_name,
            "--extra-py-files": package.s3_object_url,
            "--job-bookmark-option": "job-bookmark-disable",
            "--job-language": "python",
            "--python-modules-installer-option": "--no-index",
            "--unit": business_unit.name,
        },
    )
    made.node.add_dependency(role)
    return DefinedJob(job=made, role=role)


def define_job_encryption(home: Construct, unit: IBusinessUnit, name: str) -> glue.CfnSecurityConfiguration:
    """Encrypt logs and other output of the job with the unit's key."""
    key = unit.key.key_arn
    return glue.CfnSecurityConfiguration(
        home,
        "Encryption",
        name=name,
        encryption_configuration=glue.CfnSecurityConfiguration.EncryptionConfigurationProperty(
            cloud_watch_encryption=glue.CfnSecurityConfiguration.CloudWatchEncryptionProperty(
                cloud_watch_encryption_mode="SSE-KMS", kms_key_arn=key
            ),
            job_bookmarks_encryption=glue.CfnSecurityConfiguration.JobBookmarksEncryptionProperty(
                job_bookmarks_encryption_mode="CSE-KMS", kms_key_arn=key
            ),
            s3_encryptions=[
                glue.CfnSecurityConfiguration.S3EncryptionProperty(s3_encryption_mode="SSE-KMS", kms_key_arn=key)
            ],
        ),
    )


def define_job_connection(home: Construct, unit: IBusinessUnit, does: str) -> glue.CfnConnection:
    """Define the job's network connection: its nodes reach each other, and the services that the unit's security group reaches.

    See: https://docs.aws.amazon.com/glue/latest/dg/setup-vpc-for-glue-access.html
    """
    group = ec2.SecurityGroup(
        home,
        "Group",
        vpc=unit.vpc,
        description=f"Nodes of the Glue job that {does} for unit {unit.name}",
        allow_all_outbound=False,
    )
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services, through the network's endpoints")
    group.connections.allow_internally(ec2.Port.all_tcp(), "Driver and workers")
    group.node.add_dependency(unit.connectivity_established)
    return glue.CfnConnection(
        home,
        "Connection",
        catalog_id=stack_values(home).account,
        connection_input=glue.CfnConnection.ConnectionInputProperty(
            connection_type="NETWORK",
            description=f"Network of the job that {does} for unit {unit.name}",
            physical_connection_requirements=glue.CfnConnection.PhysicalConnectionRequirementsProperty(
                subnet_id=unit.subnet_ids[0], security_group_id_list=[group.security_group_id]
            ),
        ),
    )


def job_service_statements(home: Construct, connection: glue.CfnConnection) -> list[iam.PolicyStatement]:
    """Return the permissions that Glue itself uses with the role: logs, network interfaces, their tags.

    See: https://docs.aws.amazon.com/glue/latest/dg/create-service-policy.html
    """
    stack = stack_values(home)
    logs = stack.format_arn(
        service="logs",
        resource="log-group",
        resource_name="/aws-glue/jobs/*",
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )
    interfaces = stack.format_arn(service="ec2", resource="network-interface", resource_name="*")
    catalog = stack.format_arn(service="glue", resource="catalog")
    place = stack.format_arn(service="glue", resource="connection", resource_name=connection.ref)
    return [
        allow(["logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], logs),
        allow("glue:GetConnection", catalog, place),
        allow(_NETWORK, "*"),
        allow(
            ["ec2:CreateTags", "ec2:DeleteTags"],
            interfaces,
            conditions={"ForAllValues:StringEquals": {"aws:TagKeys": ["aws-glue-service-resource"]}},
        ),
    ]


def report_failures(
    scope: Construct, job: DefinedJob, dead_letters: sqs.IQueue, *, business_unit: IBusinessUnit
) -> None:
    """Send each run that ends without a result to the dead-letter queue, which has an alarm.

    See: https://docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html

    Args:
        scope: Parent of the rule.
        dead_letters: The queue.
        business_unit: The unit; its own dead-letter queue receives events that cannot be delivered to this queue.
    """
    rule = events.Rule(
        scope,
        "LargeFailed",
        description="Failed runs of the job that ingests large batches",
        event_pattern=events.EventPattern(
            source=["aws.glue"],
            detail_type=["Glue Job State Change"],
            detail={"jobName": [job.job.ref], "state": ["ERROR", "FAILED", "STOPPED", "TIMEOUT"]},
        ),
    )
    deliver(rule, dead_letters, dead_letters=business_unit.dead_letter_queue)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinedIngest:
    """The bucket of batches and its retention in days, the function with its queue and layer, and the roles that append."""

    bucket: s3.IBucket
    kept_days: int
    consumer: QueueConsumer
    wheels: lambda_.ILayerVersion
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
        id: Construct id; all resources are below it.
        business_unit: The unit; missing endpoints are added to its network if it created it.
        tables: The tables of the groups.
        groups: The groups, whose declaration is part of the function's zip.
        ingest: Configuration of the ingest.
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
    business_unit.reach(_FUNCTION_REACHED)
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
    wheels = layer(home, "Layer", name="features", architecture=ARCHITECTURE)
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
            allow("s3:GetObject", bucket.arn_for_objects(f"{INCOMING}*")),
            allow("s3:PutObject", bucket.arn_for_objects(f"{REJECTED}*")),
            put_events_statement(business_unit),
            *([] if large is None else [large.start_statement()]),
        ],
        timeout=cdk.Duration.minutes(5),
        memory_size=int(ingest.memory_size.to_mebibytes()),
        layers=[wheels],
        files={DECLARATION: declaration},
        batch_size=1,  # one batch may need the function's whole memory
        maximum_concurrency=_CONCURRENCY,
        wildcard_reason=_FUNCTION_REASON,
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
    assert role is not None  # noqa: S101 - set by define_function
    if large is not None:
        report_failures(home, large, consumer.dead_letter_queue, business_unit=business_unit)
    return DefinedIngest(
        bucket=bucket,
        kept_days=int(ingest.retention.to_days()),
        consumer=consumer,
        wheels=wheels,
        roles=(role,) if large is None else (role, large.role),
    )


def deliver_statements(bucket: s3.IBucket, tables: TableAccess) -> list[iam.PolicyStatement]:
    """Return the permissions to upload batches, and to read why one was rejected.

    Args:
        bucket: Incoming bucket.
        tables: Target tables of the batches.
    """
    return [
        allow("s3:PutObject", *(bucket.arn_for_objects(f"{INCOMING}{table}/*") for table in tables.tables)),
        allow("s3:GetObject", *(bucket.arn_for_objects(f"{REJECTED}{table}/*") for table in tables.tables)),
        key_statement(tables.key, services=["s3"]),
    ]
