"""Functions, processing job with its security group, and permissions of a monitor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct
from mlops_constructs._assets import layer, text_file
from mlops_constructs._functions import (
    ARCHITECTURE,
    QueueConsumer,
    add_target,
    define_dead_letter_queue,
    define_function,
    define_queue_consumer,
    deliver,
)
from mlops_constructs._platform_rules import further_tags
from mlops_constructs._roles import (
    ROLE_REASON,
    SERVICE,
    ServiceRole,
    allow,
    allow_listing,
    allow_metrics,
    container_statements,
    key_statement,
    pass_role_statement,
    placed,
    put_events_statement,
    sagemaker_arn,
    service_role,
)
from mlops_constructs._stack_values import stack_of
from mlops_constructs.compliance import acknowledge
from mlops_constructs.model_endpoint import IServedModel
from mlops_constructs.model_monitor.monitor_engine import MonitorJob
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.capture import announcement_prefix
from mlops_runtime.contracts.monitor import metric_namespace
from mlops_runtime.instance_types import takes_volume_key
from mlops_runtime.monitor.job_start import CHARACTERS_OF_TIME
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.stored_reports import metrics_key

_BALANCER = "AWS/ApplicationELB"
REASON = (
    "captures, counts and reports are stored by hour below the endpoint's own prefixes, and metrics have no resource type; "
    "rejected: one shared object, which concurrent captures would overwrite"
)


_MINUTE = "15"
_CPU = 1769


_GROUP = "/aws/sagemaker/ProcessingJobs"
_START_REASON = (
    "each run is a job with a unique name, prefixed by the endpoint's; "
    "rejected: one fixed name, which SageMaker accepts only once"
)
_NETWORKED_REASON = (
    "the job reads captures and writes reports itself, in the unit's network without internet access; rejected: network "
    "isolation, with which SageMaker would first have to copy every capture of the endpoint"
)
_NO_OUTPUT_REASON = (
    "the job has no SageMaker output: it writes reports to the unit's bucket, which the unit's key encrypts; "
    "rejected: a condition on the output's key, which no request of the job would satisfy"
)
# Spark application of the first instance; the module is in the image
_APPLICATION = """import sys

from mlops_runtime.jobs.monitor_spark import main

sys.exit(main(sys.argv[1:]))
"""
_JOB_GROUP = "JobGroup"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorAccess:
    """A monitor's scope, unit, endpoint and captures, with the permissions of its functions; ``period_hours`` is its interval."""

    scope: Construct
    business_unit: IBusinessUnit
    endpoint: IServedModel
    captures: s3.IBucket
    period_hours: int

    def count(self) -> list[iam.PolicyStatement]:
        """Return the permissions to count: read captures, baseline and the live model's row, write counts."""
        unit, name = self.business_unit, self.endpoint.endpoint_name
        return [
            allow("s3:GetObject", self.captures.arn_for_objects(f"capture/{name}/*"), self._artifacts("evaluations")),
            allow("s3:PutObject", unit.artifacts.arn_for_objects(f"monitor/{name}/counts/*")),
            # announcements of synthetic calls by executions; listing keys is enough
            allow_listing(unit.artifacts.bucket_arn, [f"{announcement_prefix(name)}*"]),
            allow("dynamodb:GetItem", self.endpoint.rollout.table.table_arn),
            key_statement(unit.key, services=["dynamodb", "s3"]),
        ]

    def decide(self) -> list[iam.PolicyStatement]:
        """Return the permissions to decide: read captures, labels, counts, baseline and earlier reports; write results."""
        unit, name = self.business_unit, self.endpoint.endpoint_name
        calls = [f"capture/{name}/*", f"labels/{name}/*"]
        announced = f"{announcement_prefix(name)}*"
        counts, reports, violations = (f"monitor/{name}/{folder}/*" for folder in ("counts", "reports", "violations"))
        own = unit.artifacts.arn_for_objects
        return [
            allow("s3:GetObject", *(self.captures.arn_for_objects(prefix) for prefix in calls)),
            allow("s3:GetObject", own(counts), own(reports), self._artifacts("evaluations")),
            allow("s3:PutObject", own(reports), own(violations), own(metrics_key(name))),
            allow_listing(self.captures.bucket_arn, calls),
            allow_listing(unit.artifacts.bucket_arn, [announced, counts, reports]),
            allow("dynamodb:GetItem", self.endpoint.rollout.table.table_arn),
            # calls of the window, and latency of it and the previous weeks; metrics are published in embedded metric format
            allow("cloudwatch:GetMetricData", "*"),
            put_events_statement(unit),
            key_statement(unit.key, services=["dynamodb", "s3"]),
        ]

    def publish(self) -> iam.PolicyStatement:
        """Return the permission to publish metrics in the unit's namespace only."""
        return allow_metrics(metric_namespace(self.business_unit.name))

    def model(self) -> list[iam.PolicyStatement]:
        """Return the permission to read the live model's artifact, for attributions."""
        return [allow("s3:GetObject", self._artifacts("models"))]

    def environment(self, spec: MonitorSpec, *, window_hours: int) -> dict[str, str]:
        """Return the environment variables of the deciding function or job."""
        unit, endpoint = self.business_unit, self.endpoint
        return {
            "ENDPOINT": endpoint.endpoint_name,
            "VARIANT": endpoint.variant,
            "UNIT": unit.name,
            "ROLLOUT_TABLE": endpoint.rollout.table.table_name,
            "ARTIFACTS_BUCKET": unit.artifacts.bucket_name,
            "CAPTURE_BUCKET": self.captures.bucket_name,
            "EVENT_BUS": unit.bus.event_bus_name,
            "WINDOW_HOURS": str(window_hours),
            "PERIOD_HOURS": str(self.period_hours),
            "MONITOR": canonical_json(spec).decode(),
            **self._traffic(),
        }

    def _traffic(self) -> dict[str, str]:
        """Return the metrics of calls and latency, unless they are SageMaker's own.

        A load balancer publishes both with the same dimensions, latency in seconds.
        See: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
        """
        metric = self.endpoint.metric_invocations()
        if metric.namespace == "AWS/SageMaker":
            return {}
        names: dict[str, Any] = {
            "namespace": metric.namespace,
            "metric": metric.metric_name,
            "dimensions": metric.dimensions,
        }
        if metric.namespace == _BALANCER:
            names["latency"] = {**names, "metric": "TargetResponseTime", "milliseconds": 1000}
        return {"TRAFFIC": stack_of(self.scope).to_json_string(names)}

    def _artifacts(self, folder: str) -> str:
        return self.business_unit.artifacts.arn_for_objects(f"{folder}/{self.endpoint.endpoint_name}/*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Further environment and permissions of the deciding function if it does not use the platform's own counts."""

    environment: Mapping[str, str] = field(default_factory=dict)
    statements: Sequence[iam.PolicyStatement] = ()


def define_layer(access: MonitorAccess) -> lambda_.ILayerVersion:
    """Define the layer with numpy."""
    return layer(access.scope, "Layer", name="monitor", architecture=ARCHITECTURE)


def define_counts(access: MonitorAccess, numpy: lambda_.ILayerVersion) -> QueueConsumer:
    """Define the function that counts each capture object when it is written, with its queue.

    See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    """
    unit, name = access.business_unit, access.endpoint.endpoint_name
    consumer = define_queue_consumer(
        access.scope,
        "Counts",
        business_unit=unit,
        folder="capture_counts",
        description=f"Counts each capture of {name}",
        environment={
            "ENDPOINT": name,
            "ROLLOUT_TABLE": access.endpoint.rollout.table.table_name,
            "ARTIFACTS_BUCKET": unit.artifacts.bucket_name,
        },
        statements=access.count(),
        # an object of 2 GiB, the maximum, needs about 100 seconds of a full vCPU, which 1,769 MiB provide:
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
        timeout=cdk.Duration.minutes(5),
        memory_size=_CPU,
        # so that a large or failing object does not affect others
        batch_size=1,
        layers=[numpy],
        wildcard_reason=REASON,
    )
    rule = events.Rule(
        access.scope,
        "Captured",
        description=f"Captures of {name}",
        event_pattern=events.EventPattern(
            source=["aws.s3"],
            detail_type=["Object Created"],
            detail={
                "bucket": {"name": [access.captures.bucket_name]},
                "object": {"key": [{"prefix": f"capture/{name}/"}]},
            },
        ),
    )
    consumer.feed(rule)
    return consumer


def define_decide(
    access: MonitorAccess,
    numpy: lambda_.ILayerVersion,
    *,
    spec: MonitorSpec,
    window_hours: int,
    evidence: Evidence,
) -> lambda_.Function:
    """Define the function that decides over a window."""
    return define_function(
        access.scope,
        "Decide",
        business_unit=access.business_unit,
        folder="monitor_decide",
        description=f"Decides whether data and quality of {access.endpoint.endpoint_name} hold",
        environment={**access.environment(spec, window_hours=window_hours), **evidence.environment},
        statements=[*access.decide(), *evidence.statements],
        timeout=cdk.Duration.minutes(15),
        memory_size=_CPU,
        layers=[numpy],
        wildcard_reason=REASON,
    )


def define_schedule(access: MonitorAccess, function: lambda_.IFunction, *, every: cdk.Duration) -> None:
    """Define the rule that invokes a function, at fixed times if possible and otherwise relative to the deployment."""
    rule = events.Rule(
        access.scope,
        "Schedule",
        description=f"Schedule of the monitor of {access.endpoint.endpoint_name}",
        schedule=_schedule(every),
    )
    add_target(rule, targets.LambdaFunction(function), dead_letters=access.business_unit.dead_letter_queue)


def _schedule(every: cdk.Duration) -> events.Schedule:
    """Return the schedule, at minute 15, when captures of the previous hour have been written and counted."""
    hours = every.to_hours(integral=False)
    if hours == 7 * 24:
        return events.Schedule.cron(minute=_MINUTE, hour="6", week_day="MON")
    if hours == 24:
        return events.Schedule.cron(minute=_MINUTE, hour="6")
    if hours in (1, 2, 3, 4, 6, 8, 12):
        return events.Schedule.cron(minute=_MINUTE, hour="*" if hours == 1 else f"*/{hours:.0f}")
    return events.Schedule.rate(every)


def define_job(access: MonitorAccess, job: MonitorJob, *, spec: MonitorSpec, window_hours: int) -> lambda_.Function:
    """Define the job's role and the function ``Start`` that starts a run."""
    unit, scope = access.business_unit, access.scope
    code = (
        s3_assets.Asset(scope, "Application", path=str(text_file("monitor_spark.py", _APPLICATION)))
        if job.spark
        else None
    )
    role, group = _define_role(access, job, code), _group(access, job)
    _report_failures(access)
    function = define_function(
        scope,
        "Start",
        business_unit=unit,
        folder="monitor_start",
        description=f"Starts the job that watches {access.endpoint.endpoint_name}",
        environment={
            **access.environment(spec, window_hours=window_hours),
            "JOB": stack_of(scope).to_json_string(_plan(access, job, role, code, group)),
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
    """Return the fields of ``MonitorJobPlan``; values may be tokens."""
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
    if further_tags(unit):
        plan["further_tags"] = further_tags(unit)
    return plan if code is None else {**plan, "code_uri": code.s3_object_url}


def _define_role(access: MonitorAccess, job: MonitorJob, code: s3_assets.Asset | None) -> ServiceRole:
    unit = access.business_unit
    statements = [*access.count(), *access.decide(), access.publish()]
    if job.attribution_rows:
        statements += access.model()
    if code is not None:
        statements.append(allow("s3:GetObject", code.bucket.arn_for_objects(code.s3_object_key)))
        statements.append(allow_listing(code.bucket.bucket_arn, [code.s3_object_key]))
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
    """Return the permissions to start the job, only with the declared network, key and instance type."""
    unit = access.business_unit
    jobs = sagemaker_arn(access.scope, "processing-job", f"{access.endpoint.endpoint_name}-monitor-*")
    conditions = {
        **placed(subnets=unit.subnet_ids, security_groups=[group.security_group_id]),
        **(
            {"StringEquals": {"sagemaker:VolumeKmsKey": unit.key.key_arn}}
            if takes_volume_key(job.instance_type)
            else {}
        ),
        "ForAnyValue:StringEquals": {"sagemaker:InstanceTypes": [job.instance_type]},
        "Bool": {"sagemaker:InterContainerTrafficEncryption": "true"},
        "NumericLessThanEquals": {"sagemaker:MaxRuntimeInSeconds": int(job.max_runtime.to_seconds(integral=False))},
    }
    return [
        allow("sagemaker:CreateProcessingJob", jobs, conditions=conditions),
        allow("sagemaker:AddTags", jobs),
        pass_role_statement(role, service=SERVICE),
    ]


def _report_failures(access: MonitorAccess) -> None:
    """Send each failed run to the dead-letter queue, which has an alarm.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
    """
    queue = define_dead_letter_queue(access.scope, "JobDeadLetters", business_unit=access.business_unit)
    rule = events.Rule(
        access.scope,
        "JobFailed",
        description=f"Failed and stopped monitor jobs of {access.endpoint.endpoint_name}",
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


def define_job_group(
    scope: Construct, *, business_unit: IBusinessUnit, endpoint_name: str, count: int
) -> ec2.ISecurityGroup:
    """Return the security group of a job's instances; a monitor defines at most one.

    The unit's group has no inbound rule, so that instances of a job could not reach each other. Encrypted traffic between them
    needs UDP 500 and protocol 50 (ESP) in both directions within the group.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html

    Args:
        scope: Construct of the monitor.
        business_unit: Owning business unit.
        endpoint_name: Name of the monitored endpoint.
        count: Number of instances of the job.
    """
    if count == 1:
        return business_unit.security_group
    known = scope.node.try_find_child(_JOB_GROUP)
    if isinstance(known, ec2.SecurityGroup):
        return known
    group = ec2.SecurityGroup(
        scope,
        _JOB_GROUP,
        vpc=business_unit.vpc,
        description=f"Instances of the job that watches {endpoint_name}",
        allow_all_outbound=False,
    )
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services, through the network's endpoints")
    for port, what in ((ec2.Port.all_tcp(), "Data"), (ec2.Port.udp(500), "IPsec keys"), (ec2.Port.esp(), "IPsec")):
        group.connections.allow_internally(port, f"{what} between the job's instances")
    group.node.add_dependency(business_unit.connectivity_established)
    return group
