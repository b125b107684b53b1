"""The job that counts a window and decides: its role, the function that starts it, and what tells that it failed."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets

from mlops_constructs._assets import text_file
from mlops_constructs._function import define_function
from mlops_constructs._iam import ServiceRole, key_statement, pass_role_statement, service_role
from mlops_constructs._queue import define_dead_letter_queue, deliver
from mlops_constructs._sagemaker import ROLE_REASON, SERVICE, container_statements, placed, sagemaker_arn
from mlops_constructs.compliance import acknowledge
from mlops_constructs.model_monitor._access import MonitorAccess, list_objects, objects
from mlops_constructs.model_monitor._job_group import define_job_group
from mlops_constructs.model_monitor.engine import MonitorJob
from mlops_runtime.monitor.job_start import CHARACTERS_OF_TIME
from mlops_runtime.monitor.spec import MonitorSpec

_GROUP = "/aws/sagemaker/ProcessingJobs"
_START_REASON = (
    "each run is a job with a name of its own, below the endpoint's; "
    "rejected: one fixed name, under which SageMaker runs a job once"
)
_NETWORKED_REASON = (
    "the job reads captures and writes reports by itself, in the unit's network without a way to the internet; rejected: "
    "isolation, in which SageMaker would have to copy every capture of the endpoint before it"
)
_NO_OUTPUT_REASON = (
    "the job has no output that SageMaker would write: it puts reports into the unit's bucket, which the unit's key encrypts; "
    "rejected: a condition on the key of an output, which IAM would never meet"
)
# what Spark runs on the first instance: the module is in the image
_APPLICATION = """import sys

from mlops_runtime.jobs.monitor_spark import main

sys.exit(main(sys.argv[1:]))
"""


def define_job(access: MonitorAccess, job: MonitorJob, *, spec: MonitorSpec, window_hours: int) -> lambda_.Function:
    """Define the job's role and the function ``Start`` that starts a run.

    Args:
        access: The monitor.
        job: Where the job runs.
        spec: What is tested.
        window_hours: The window.
    """
    unit, scope = access.business_unit, access.scope
    code = (
        s3_assets.Asset(scope, "Application", path=str(text_file("monitor_spark.py", _APPLICATION)))
        if job.spark
        else None
    )
    role, group = _define_role(access, job, code), _group(access, job)
    _tell_failures(access)
    function = define_function(
        scope,
        "Start",
        business_unit=unit,
        folder="monitor_start",
        description=f"Starts the job that watches {access.endpoint.endpoint_name}",
        environment={
            **access.environment(spec, window_hours=window_hours),
            "JOB": cdk.Stack.of(scope).to_json_string(_plan(access, job, role, code, group)),
        },
        statements=_start_statements(access, job, role, group),
        timeout=cdk.Duration.seconds(30),
        wildcard_reason=_START_REASON,
    )
    acknowledge(function, "Mlops-JobIsolation[CreateProcessingJob]", _NETWORKED_REASON)
    acknowledge(function, "Mlops-JobOutput[CreateProcessingJob]", _NO_OUTPUT_REASON)
    return function


def _group(access: MonitorAccess, job: MonitorJob) -> ec2.ISecurityGroup:
    return define_job_group(
        access.scope,
        business_unit=access.business_unit,
        endpoint_name=access.endpoint.endpoint_name,
        count=job.instance_count,
    )


def _plan(
    access: MonitorAccess, job: MonitorJob, role: ServiceRole, code: s3_assets.Asset | None, group: ec2.ISecurityGroup
) -> Mapping[str, object]:
    """The fields of ``MonitorJobPlan``; values may be tokens."""
    unit = access.business_unit
    plan: dict[str, object] = {
        "image_uri": job.image.uri(access.scope),
        "instance_type": job.instance_type,
        "count": job.instance_count,
        "maximum": int(job.max_runtime.to_seconds(integral=False)),
        "volume_gigabytes": job.volume_gigabytes,
        "role": role.role_arn,
        "subnets": unit.subnet_ids,
        "security_groups": [group.security_group_id],
        "kms_key": unit.key.key_arn,
        "owner": unit.owner,
        "cost_center": unit.cost_center,
        "attribution_rows": job.attribution_rows,
    }
    return plan if code is None else {**plan, "code_uri": code.s3_object_url}


def _define_role(access: MonitorAccess, job: MonitorJob, code: s3_assets.Asset | None) -> ServiceRole:
    unit = access.business_unit
    statements = [*access.count(), *access.decide(), access.publish()]
    if job.attribution_rows:
        statements += access.model()
    if code is not None:
        statements.append(objects("s3:GetObject", code.bucket.arn_for_objects(code.s3_object_key)))
        statements.append(list_objects(code.bucket.bucket_arn, code.s3_object_key))
    return service_role(
        access.scope,
        "JobRole",
        service=SERVICE,
        statements=[
            *job.image.pull_statements(access.scope),
            # volumes of the instances
            key_statement(unit.key, services=["sagemaker"], actions=["kms:CreateGrant", "kms:DescribeKey"]),
            *statements,
            *container_statements(
                access.scope,
                log_group=_GROUP,
                namespace=_GROUP,
                streams=[f"{access.endpoint.endpoint_name}-monitor-{'?' * CHARACTERS_OF_TIME}/*"],
            ),
        ],
        business_unit=unit,
        description=f"Job that watches {access.endpoint.endpoint_name}",
        wildcard_reason=ROLE_REASON,
    )


def _start_statements(
    access: MonitorAccess, job: MonitorJob, role: ServiceRole, group: ec2.ISecurityGroup
) -> list[iam.PolicyStatement]:
    """Start the job in its place: network, key and instance type as declared. It reads S3 itself, so it has a network."""
    unit = access.business_unit
    jobs = sagemaker_arn(access.scope, "processing-job", f"{access.endpoint.endpoint_name}-monitor-*")
    conditions = {
        **placed(subnets=unit.subnet_ids, security_groups=[group.security_group_id]),
        "StringEquals": {"sagemaker:VolumeKmsKey": unit.key.key_arn},
        "ForAnyValue:StringEquals": {"sagemaker:InstanceTypes": [job.instance_type]},
        "Bool": {"sagemaker:InterContainerTrafficEncryption": "true"},
        "NumericLessThanEquals": {"sagemaker:MaxRuntimeInSeconds": int(job.max_runtime.to_seconds(integral=False))},
    }
    return [
        iam.PolicyStatement(actions=["sagemaker:CreateProcessingJob"], resources=[jobs], conditions=conditions),
        iam.PolicyStatement(actions=["sagemaker:AddTags"], resources=[jobs]),
        pass_role_statement(role, service=SERVICE),
    ]


def _tell_failures(access: MonitorAccess) -> None:
    """Put each run that failed among the messages that nobody could process, which have an alarm.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
    """
    queue = define_dead_letter_queue(access.scope, "JobDeadLetters", business_unit=access.business_unit)
    rule = events.Rule(
        access.scope,
        "JobFailed",
        description=f"Runs of the job that watches {access.endpoint.endpoint_name} which gave no report",
        event_pattern=events.EventPattern(
            source=["aws.sagemaker"],
            detail_type=["SageMaker Processing Job State Change"],
            detail={
                "ProcessingJobName": [{"prefix": f"{access.endpoint.endpoint_name}-monitor-"}],
                "ProcessingJobStatus": ["Failed", "Stopped"],
            },
        ),
    )
    deliver(rule, queue, dead_letters=access.business_unit.dead_letter_queue)
