"""Alarms of an API on integration timeouts and 5xx responses."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns

from constructs import Construct

_FIVE_MINUTES = cdk.Duration.minutes(5)
_SILENCE = cloudwatch.TreatMissingData.NOT_BREACHING
_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
OFTEN = "IF(errors >= 5 AND errors > 0.01 * calls, 1, 0)"


def define_alarms(
    scope: Construct, *, name: str, stage: str, unit: str, log_group: logs.ILogGroup, topic: sns.ITopic
) -> dict[str, cloudwatch.Alarm]:
    """Define the alarms ``late`` and ``errors``.

    A timeout is worse than an error: the model continues, its response is captured and counted, and the caller retries. API Gateway
    has no metric of timeouts, so a metric filter counts them in the access log.

    Args:
        scope: Parent construct.
        name: Name of the API, the dimension of its metrics.
        stage: Name of the stage.
        unit: Name of the unit.
        log_group: Log group of the access log.
        topic: Topic to notify.
    """
    late = logs.MetricFilter(
        scope,
        "LateFilter",
        log_group=log_group,
        filter_pattern=logs.FilterPattern.number_value("$.status", "=", 504),
        metric_namespace=f"MLOps/{unit}",
        metric_name="ApiLateAnswers",
        metric_value="1",
    ).metric(statistic=cloudwatch.Stats.SUM, period=_FIVE_MINUTES)
    dimensions = {"ApiName": name, "Stage": stage}

    def of(metric: str, statistic: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/ApiGateway",
            metric_name=metric,
            dimensions_map=dimensions,
            statistic=statistic,
            period=_FIVE_MINUTES,
        )

    often = cloudwatch.MathExpression(
        expression=OFTEN,
        using_metrics={"errors": of("5XXError", cloudwatch.Stats.SUM), "calls": of("Count", cloudwatch.Stats.SUM)},
        label="5xx on more than 1 % of the calls",
        period=_FIVE_MINUTES,
    )
    made = {
        "late": late.create_alarm(
            scope,
            "LateAlarm",
            threshold=5,
            evaluation_periods=3,
            datapoints_to_alarm=2,
            comparison_operator=_AT_LEAST,
            treat_missing_data=_SILENCE,
            alarm_description=(
                f"calls of {name} timed out at least 5 times in two of three periods of five minutes, while models go on and "
                "callers retry; read the access log, then send fewer rows per call or increase the model's capacity"
            ),
        ),
        "errors": often.create_alarm(
            scope,
            "ErrorsAlarm",
            threshold=1,
            evaluation_periods=3,
            datapoints_to_alarm=3,
            comparison_operator=_AT_LEAST,
            treat_missing_data=_SILENCE,
            alarm_description=(
                f"{name} answered 5xx at least 5 times and on more than 1 % of its calls in each of three periods of five "
                "minutes; find the model in the access log and the cause by the alarm of its endpoint"
            ),
        ),
    }
    for alarm in made.values():
        alarm.add_alarm_action(actions.SnsAction(topic))
    return made
