"""Measurement of the age of feature tables, and the alarms on it."""

import json
import math
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._functions import add_target, define_function
from mlops_constructs._roles import allow, allow_metrics, key_statement
from mlops_constructs.feature_store.table_grants import TableAccess
from mlops_constructs.model_endpoint.endpoint_metrics import MetricOptions
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.monitor import metric_namespace
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.table_freshness import DIMENSION, METRIC

SHORTEST = cdk.Duration.hours(1)
# an alarm evaluates at most seven days, which must cover two runs
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html (EvaluationPeriods)
LONGEST = cdk.Duration.hours(84)
_DAY = 86400
_REASON = (
    "a commit writes a metadata file with a new name, and metrics have no resource type; "
    "rejected: metadata below one fixed name, which Iceberg does not write"
)


def age_metric(unit: str, table: str, options: MetricOptions) -> cloudwatch.Metric:
    """Return the metric of the seconds since the newest event time of a table.

    Args:
        options: Label, period (default one hour) and statistic (default minimum).
    """
    return cloudwatch.Metric(
        namespace=metric_namespace(unit),
        metric_name=METRIC,
        dimensions_map={DIMENSION: table},
        label=options.get("label"),
        statistic=options.get("statistic", cloudwatch.Stats.MINIMUM),
        period=options.get("period", cdk.Duration.hours(1)),
    )


def define_freshness_function(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, tables: TableAccess, every: cdk.Duration
) -> lambda_.Function:
    """Define the function that publishes the age of tables, and its schedule.

    Args:
        scope: Parent.
        id: Construct id; the schedule is ``<id>Schedule``.
        tables: The tables to measure.
        every: Interval of the measurements.
    """
    business_unit.reach(("glue", "monitoring"))
    function = define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="feature_freshness",
        description=f"Publishes how old the newest events of {tables.database} are",
        environment={
            "UNIT": business_unit.name,
            "DATABASE": tables.database,
            "TABLES": json.dumps(list(tables.tables)),
        },
        statements=[
            allow("glue:GetTable", *tables.catalog_arns()),
            allow("s3:GetObject", *tables.objects("metadata/*")),
            allow_metrics(metric_namespace(business_unit.name)),
            key_statement(business_unit.key, services=["s3"], actions=["kms:Decrypt"]),
        ],
        timeout=cdk.Duration.minutes(5),
        memory_size=512,  # a metadata file contains every snapshot
        wildcard_reason=_REASON,
    )
    rule = events.Rule(
        scope,
        f"{id}Schedule",
        description=f"Schedule of the freshness measurement of {tables.database}",
        schedule=events.Schedule.rate(every),
    )
    add_target(rule, targets.LambdaFunction(function), dead_letters=business_unit.dead_letter_queue)
    return function


def define_freshness_alarms(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, groups: Sequence[FeatureGroup], every: cdk.Duration
) -> dict[str, cloudwatch.Alarm]:
    """Define one alarm per group, by table name.

    A table without rows has no metric, so missing data is not breaching: the alarm then has insufficient data, from its first day
    and without a notification if there never was a row. If the measurement stops, or all rows are erased, an alarm changes from
    another state to insufficient data, which notifies the topic.

    Args:
        scope: Parent.
        id: Prefix of the construct ids.
        business_unit: The unit; provides the topic.
        groups: Groups that declare ``freshness``.
        every: Interval of the measurements.
    """
    seconds = int(every.to_seconds(integral=False))
    period = min(seconds, _DAY)
    alarms = {}
    for group in groups:
        assert group.freshness is not None  # noqa: S101 - callers pass only such groups
        name = "".join(word.capitalize() for word in group.table_name.split("_"))
        metric = age_metric(business_unit.name, group.table_name, {"period": cdk.Duration.seconds(period)})
        alarm = metric.create_alarm(
            Construct(scope, f"{id}{name}"),
            "Freshness",
            threshold=group.freshness.total_seconds(),
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=math.ceil(2 * seconds / period),
            datapoints_to_alarm=1,
            treat_missing_data=cloudwatch.TreatMissingData.MISSING,
            alarm_description=f"{group.table_name}: the newest event is older than {group.freshness}, or, with insufficient data, "
            f"its age is no longer measured or all rows were erased; ask {group.owner} for the data feed, read the ingest's log "
            f"and "
            "dead-letter queue, and the log of the store's function Freshness",
        )
        alarm.add_alarm_action(actions.SnsAction(business_unit.topic))
        alarm.add_insufficient_data_action(actions.SnsAction(business_unit.topic))
        alarms[group.table_name] = alarm
    return alarms
