"""The Glue Spark job for batches over the limits of the function: job, role, encryption, and its place in the unit's network."""

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sqs as sqs

from constructs import Construct
from mlops_constructs._assets import glue_archive, job_package, text_file
from mlops_constructs._iam import ServiceRole, put_events_statement, service_role
from mlops_constructs._queue import deliver
from mlops_constructs.feature_store._grants import TableAccess
from mlops_constructs.feature_store.ingest import GlueIngestJob
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.features import INCOMING, REJECTED

GLUE_VERSION = "5.0"
_MODULE = "ingest_spark"
# an exit code of 0 is a failure to Glue where it is an exception
_SCRIPT = f"""import sys

from mlops_runtime.jobs.{_MODULE} import main

code = main(sys.argv[1:])
if code:
    sys.exit(code)
"""
# https://docs.aws.amazon.com/glue/latest/dg/start-development-vpc.html: logs go through the job's network too
_REACHED = ("events", "glue", "logs")
# https://docs.aws.amazon.com/glue/latest/dg/create-service-policy.html: what Glue does in a job's name for its network
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
    "network interfaces have no name before they are made, Glue names the log groups, and batches, reports and files have new "
    "names below their prefixes; rejected: AWSGlueServiceRole, which grants more, and a job outside the network"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinedJob:
    """The job and its role."""

    job: glue.CfnJob
    role: ServiceRole

    def start_statement(self) -> iam.PolicyStatement:
        """Return the right to start a run."""
        stack = cdk.Stack.of(self.job)
        arn = stack.format_arn(service="glue", resource="job", resource_name=self.job.ref)
        return iam.PolicyStatement(actions=["glue:StartJobRun"], resources=[arn])


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
        business_unit: The unit; its made network gets what it lacks of the endpoints that the job calls.
        tables: The tables of the groups.
        bucket: Incoming bucket.
        declaration: The groups as JSON.
        job: What was asked for.
    """
    home = Construct(scope, id)
    business_unit.reach(_REACHED)
    script = s3_assets.Asset(home, "Script", path=str(text_file("ingest.py", _SCRIPT)))
    package = s3_assets.Asset(home, "Package", path=str(job_package(_MODULE)))
    wheels = s3_assets.Asset(home, "Wheels", path=str(glue_archive("features").resolve()))
    groups = s3_assets.Asset(home, "Declaration", path=str(text_file("groups.json", declaration)))
    connection = _define_connection(home, business_unit)
    role = service_role(
        home,
        "Role",
        service="glue.amazonaws.com",
        business_unit=business_unit,
        description=f"Ingests large batches into {tables.database}",
        wildcard_reason=_REASON,
        statements=[
            *tables.write(),
            # what an overtaken attempt wrote and nothing refers to; old versions stay
            iam.PolicyStatement(actions=["s3:DeleteObject"], resources=tables.objects("data/*")),
            iam.PolicyStatement(
                actions=["s3:GetObject"],
                resources=[
                    bucket.arn_for_objects(f"{INCOMING}*"),
                    *(asset.bucket.arn_for_objects(asset.s3_object_key) for asset in (script, package, wheels, groups)),
                ],
            ),
            iam.PolicyStatement(actions=["s3:PutObject"], resources=[bucket.arn_for_objects(f"{REJECTED}*")]),
            put_events_statement(business_unit),
            *_service_statements(home, connection),
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
        max_retries=0,  # the queue and a redrive try again: Glue would run a batch that fails its checks anew
        execution_property=glue.CfnJob.ExecutionPropertyProperty(max_concurrent_runs=job.max_concurrent_runs),
        role=role.role_arn,
        security_configuration=_define_encryption(home, business_unit, tables.database).ref,
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


def _define_encryption(home: Construct, unit: IBusinessUnit, database: str) -> glue.CfnSecurityConfiguration:
    """Logs and whatever the job writes of its own are encrypted with the unit's key."""
    key = unit.key.key_arn
    return glue.CfnSecurityConfiguration(
        home,
        "Encryption",
        name=f"{database}-ingest",
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


def _define_connection(home: Construct, unit: IBusinessUnit) -> glue.CfnConnection:
    """The job's place in the network: its nodes reach each other, and the services that the unit's group reaches.

    See: https://docs.aws.amazon.com/glue/latest/dg/setup-vpc-for-glue-access.html
    """
    group = ec2.SecurityGroup(
        home,
        "Group",
        vpc=unit.vpc,
        description=f"Nodes of the Glue job that ingests for unit {unit.name}",
        allow_all_outbound=False,
    )
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services, through the network's endpoints")
    group.connections.allow_internally(ec2.Port.all_tcp(), "Driver and workers")
    group.node.add_dependency(unit.connectivity_established)
    return glue.CfnConnection(
        home,
        "Connection",
        catalog_id=cdk.Stack.of(home).account,
        connection_input=glue.CfnConnection.ConnectionInputProperty(
            connection_type="NETWORK",
            description=f"Network of the job that ingests for unit {unit.name}",
            physical_connection_requirements=glue.CfnConnection.PhysicalConnectionRequirementsProperty(
                subnet_id=unit.subnet_ids[0], security_group_id_list=[group.security_group_id]
            ),
        ),
    )


def _service_statements(home: Construct, connection: glue.CfnConnection) -> list[iam.PolicyStatement]:
    """What Glue does in the role's name: logs, network interfaces, their tags.

    See: https://docs.aws.amazon.com/glue/latest/dg/create-service-policy.html
    """
    stack = cdk.Stack.of(home)
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
        iam.PolicyStatement(
            actions=["logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            resources=[logs],
        ),
        iam.PolicyStatement(actions=["glue:GetConnection"], resources=[catalog, place]),
        iam.PolicyStatement(actions=list(_NETWORK), resources=["*"]),
        iam.PolicyStatement(
            actions=["ec2:CreateTags", "ec2:DeleteTags"],
            resources=[interfaces],
            conditions={"ForAllValues:StringEquals": {"aws:TagKeys": ["aws-glue-service-resource"]}},
        ),
    ]


def tell_failures(scope: Construct, job: DefinedJob, dead_letters: sqs.IQueue, *, business_unit: IBusinessUnit) -> None:
    """Put each run that ends without a verdict among the messages that nobody could process, which have an alarm.

    See: https://docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html

    Args:
        scope: Parent of the rule.
        job: The job.
        dead_letters: The queue.
        business_unit: The unit; its own dead letters take what this queue cannot.
    """
    rule = events.Rule(
        scope,
        "LargeFailed",
        description="Runs of the job that ingests large batches which failed",
        event_pattern=events.EventPattern(
            source=["aws.glue"],
            detail_type=["Glue Job State Change"],
            detail={"jobName": [job.job.ref], "state": ["ERROR", "FAILED", "STOPPED", "TIMEOUT"]},
        ),
    )
    deliver(rule, dead_letters, dead_letters=business_unit.dead_letter_queue)
