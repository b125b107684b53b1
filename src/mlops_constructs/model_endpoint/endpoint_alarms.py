"""Alarms of an endpoint: 5xx responses, and the alarms that roll a CloudFormation deployment back."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlops_constructs.model_endpoint.endpoint_metrics import ModelEndpointBase
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.rollout.fleet_alarms import WORSE, WORSE_DATAPOINTS, WORSE_PERIODS, WORSE_TEXT

_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
# without calls there is no data; the monitor's heartbeat reports missing traffic
_SILENCE = cloudwatch.TreatMissingData.NOT_BREACHING
# with few calls the minimum count decides, with many the share
OFTEN = "IF(errors >= 5 AND errors > 0.01 * calls, 1, 0)"
OFTEN_TEXT = "5xx at least 5 times and on more than 1 % of its calls in each of three periods of five minutes"


def define_errors_alarm(
    scope: Construct, *, endpoint: ModelEndpointBase, topic: sns.ITopic, fix: str
) -> cloudwatch.Alarm:
    """Define the alarm on 5xx responses, which every kind of endpoint counts.

    Args:
        scope: Parent construct.
        endpoint: Endpoint to watch.
        topic: Topic to notify.
        fix: How to return to the previous model, for the alarm's description.
    """
    # claim: errors-are-counted-for-each-answer
    return define_often_alarm(
        scope,
        "ErrorsAlarm",
        errors=endpoint.metric_invocation_5xx_errors(),
        calls=endpoint.metric_invocation_5xx_errors(statistic=cloudwatch.Stats.SAMPLE_COUNT),
        topic=topic,
        description=(
            f"{endpoint.endpoint_name} answered with {OFTEN_TEXT}; read /aws/sagemaker/Endpoints/{endpoint.endpoint_name}, or "
            f"{fix}"
        ),
    )


def define_often_alarm(
    scope: Construct,
    id: str,
    *,
    errors: cloudwatch.IMetric,
    calls: cloudwatch.IMetric,
    topic: sns.ITopic,
    description: str,
) -> cloudwatch.Alarm:
    """Define an alarm on a share and a number of 5xx responses in each of three periods of five minutes.

    Args:
        scope: Parent construct.
        id: Construct id.
        errors: Metric of the errors.
        calls: Metric of all calls.
        topic: Topic to notify.
        description: Description of the alarm, with what to do.
    """
    often = cloudwatch.MathExpression(
        expression=OFTEN,
        using_metrics={"errors": errors, "calls": calls},
        label="5xx on more than 1 % of the calls",
        period=cdk.Duration.minutes(5),
    )
    alarm = often.create_alarm(
        scope,
        id,
        threshold=1,
        evaluation_periods=3,
        datapoints_to_alarm=3,
        comparison_operator=_AT_LEAST,
        treat_missing_data=_SILENCE,
        alarm_description=description,
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    return alarm


def rollback_errors_name(endpoint_name: str) -> str:
    """Return the name of the errors alarm that rolls a deployment back; fixed, as the role that reads it is created first."""
    return f"{endpoint_name}-deployment-errors"


def define_rollback_errors(
    scope: Construct, *, endpoint: ModelEndpointBase, policy: RolloutSpec, topic: sns.ITopic, metric: str, config: str
) -> cloudwatch.Alarm:
    """Define the errors alarm that rolls a CloudFormation deployment back.

    It compares the responses of the deployed endpoint config with those of the whole endpoint; the difference is the old fleet's.
    CloudFormation creates the config, updates the alarm to watch it, and then updates the endpoint.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html

    Args:
        scope: Parent construct.
        endpoint: Endpoint to watch.
        policy: Rollout policy with the error limit and the alarm period.
        topic: Topic to notify.
        metric: Metric that counts the errors of this kind of endpoint.
        config: Name of the endpoint config that is deployed.
    """
    # claim: guardrails-take-metric-math
    period = cdk.Duration.seconds(policy.alarm_period)
    calls, total = cloudwatch.Stats.SAMPLE_COUNT, cloudwatch.Stats.SUM

    def of(statistic: str) -> cloudwatch.Metric:
        return endpoint.metric(metric, period=period, statistic=statistic)

    def of_config(statistic: str) -> cloudwatch.Metric:
        found = of(statistic)
        dimensions = {**(found.dimensions or {}), "EndpointConfigName": config}
        return found.with_(dimensions_map=dimensions)

    watched: cloudwatch.IMetric
    if policy.max_error_count is None:
        metrics = {"n": of_config(calls), "x": of_config(total), "all_n": of(calls), "all_x": of(total)}
        watched = cloudwatch.MathExpression(expression=WORSE, using_metrics=metrics, label="worse", period=period)
        periods = max(1, min(WORSE_PERIODS, policy.bake // policy.alarm_period))
        most, datapoints, description = 0, min(WORSE_DATAPOINTS, periods), WORSE_TEXT
    else:
        watched, periods, most, datapoints = of(total), 1, policy.max_error_count, 1
        description = f"more than {most} errors of {endpoint.endpoint_name} in {policy.alarm_period} s"
    alarm = watched.create_alarm(
        scope,
        "RollbackErrorsAlarm",
        alarm_name=rollback_errors_name(endpoint.endpoint_name),
        threshold=most,
        evaluation_periods=periods,
        datapoints_to_alarm=datapoints,
        comparison_operator=_ABOVE,
        treat_missing_data=_SILENCE,
        alarm_description=f"{description}: SageMaker rolls a deployment back; read the endpoint's log group",
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    return alarm


def define_rollback_latency(
    scope: Construct, *, endpoint: ModelEndpointBase, policy: RolloutSpec, topic: sns.ITopic
) -> list[cloudwatch.IAlarm]:
    """Define the latency alarm that rolls a CloudFormation deployment back; none if the policy has no latency limit.

    Its metric covers the whole endpoint: an alarm that already fires because of the old fleet ends a deployment at once.

    Args:
        scope: Parent construct.
        endpoint: Endpoint to watch.
        policy: Rollout policy with the latency limit.
        topic: Topic to notify.
    """
    if policy.max_latency_ms is None:
        return []
    alarm = endpoint.metric_model_latency(period=cdk.Duration.seconds(policy.alarm_period)).create_alarm(
        scope,
        "RollbackLatencyAlarm",
        threshold=policy.max_latency_ms * 1000,  # ModelLatency is in microseconds
        evaluation_periods=1,
        comparison_operator=_ABOVE,
        treat_missing_data=_SILENCE,
        alarm_description=(
            f"95th percentile of model latency of {endpoint.endpoint_name} above {policy.max_latency_ms} ms: SageMaker rolls "
            "a deployment back; compare with the previous model"
        ),
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    return [alarm]
