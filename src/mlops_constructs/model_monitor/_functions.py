"""The functions that count and decide, and when they do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from mlops_constructs._assets import layer
from mlops_constructs._function import ARCHITECTURE, define_function
from mlops_constructs._queue import QueueConsumer, add_target, define_queue_consumer
from mlops_constructs.model_monitor._access import REASON, MonitorAccess
from mlops_runtime.monitor.spec import MonitorSpec

_MINUTE = "15"
_CPU = 1769


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the deciding function is told and allowed besides, where something else than our counts is its evidence."""

    environment: Mapping[str, str] = field(default_factory=dict)
    statements: Sequence[iam.PolicyStatement] = ()


def define_layer(access: MonitorAccess) -> lambda_.ILayerVersion:
    """Define the layer with numpy."""
    return layer(access.scope, "Layer", name="monitor", architecture=ARCHITECTURE)


def define_counts(access: MonitorAccess, numpy: lambda_.ILayerVersion) -> QueueConsumer:
    """Define the function that counts each capture object as it lands, with its queue.

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
        # an object of 2 GiB, the largest that it takes, needs about 100 seconds of a whole CPU, which 1,769 MiB are:
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
        timeout=cdk.Duration.minutes(5),
        memory_size=_CPU,
        # so that one that is large, or never ends, takes no other with it
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
    """Define the rule that calls a function: at a fixed time wherever there is one, not at that at which somebody deployed."""
    rule = events.Rule(
        access.scope,
        "Schedule",
        description=f"When the monitor of {access.endpoint.endpoint_name} decides",
        schedule=_schedule(every),
    )
    add_target(rule, targets.LambdaFunction(function), dead_letters=access.business_unit.dead_letter_queue)


def _schedule(every: cdk.Duration) -> events.Schedule:
    """A quarter past: captures of the hour before have landed by then and are counted."""
    hours = every.to_hours(integral=False)
    if hours == 7 * 24:
        return events.Schedule.cron(minute=_MINUTE, hour="6", week_day="MON")
    if hours == 24:
        return events.Schedule.cron(minute=_MINUTE, hour="6")
    if hours in (1, 2, 3, 4, 6, 8, 12):
        return events.Schedule.cron(minute=_MINUTE, hour="*" if hours == 1 else f"*/{hours:.0f}")
    return events.Schedule.rate(every)
