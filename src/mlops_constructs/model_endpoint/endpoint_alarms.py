"""Alarms of an endpoint: of whichever fleet serves, and those that take a deployment of the stack back."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlops_constructs.model_endpoint.endpoint_metrics import ModelEndpointBase
from mlops_runtime.contracts.rollout import RolloutSpec

_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
# no calls, no errors: the monitor's heartbeat reports missing traffic
# SageMaker alone updates an endpoint that CloudFormation owns: nothing compares its fleets
_DEFAULT_ERRORS = 1
_SILENCE = cloudwatch.TreatMissingData.NOT_BREACHING


def define_errors_alarm(
    scope: Construct, *, endpoint: ModelEndpointBase, topic: sns.ITopic, fix: str
) -> cloudwatch.Alarm:
    """Define the alarm on answers with 5xx, which all kinds of endpoints count.

    Args:
        scope: Parent.
        endpoint: The endpoint.
        topic: Topic to notify.
        fix: How to return to the previous model.
    """
    alarm = endpoint.metric_invocation_5xx_errors().create_alarm(
        scope,
        "ErrorsAlarm",
        threshold=5,
        evaluation_periods=3,
        datapoints_to_alarm=3,
        comparison_operator=_AT_LEAST,
        treat_missing_data=_SILENCE,
        alarm_description=(
            f"{endpoint.endpoint_name} answered with 5xx at least 5 times in each of three periods of five minutes; read "
            f"/aws/sagemaker/Endpoints/{endpoint.endpoint_name}, or {fix}"
        ),
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    return alarm


def define_rollback_alarms(
    scope: Construct, *, endpoint: ModelEndpointBase, policy: RolloutSpec, topic: sns.ITopic, is_asynchronous: bool
) -> list[cloudwatch.IAlarm]:
    """Define the alarms that roll a deployment of CloudFormation back.

    Their metrics are of the whole endpoint: the name of the new fleet's config is not known at synth. So an alarm that already
    fires because of the old fleet ends a deployment at once.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html

    Args:
        scope: Parent.
        endpoint: The endpoint.
        policy: What is accepted, and for how long.
        topic: Topic to notify.
        is_asynchronous: Whether the endpoint works off a queue: then SageMaker counts only answers with 5xx.
    """
    period = cdk.Duration.seconds(policy.alarm_period)
    failures = (
        endpoint.metric_invocation_5xx_errors(period=period)
        if is_asynchronous
        else endpoint.metric_invocation_model_errors(period=period)
    )
    most = _DEFAULT_ERRORS if policy.max_error_count is None else policy.max_error_count
    errors = failures.create_alarm(
        scope,
        "RollbackErrorsAlarm",
        threshold=most,
        evaluation_periods=1,
        comparison_operator=_ABOVE,
        treat_missing_data=_SILENCE,
        alarm_description=(
            f"more than {most} errors of {endpoint.endpoint_name} in {policy.alarm_period} s: SageMaker rolls a "
            "deployment back; read the endpoint's log group"
        ),
    )
    alarms = [errors]
    if policy.max_latency_ms is not None:
        latency = endpoint.metric_model_latency(period=period).create_alarm(
            scope,
            "RollbackLatencyAlarm",
            threshold=policy.max_latency_ms * 1000,  # ModelLatency is in microseconds
            evaluation_periods=1,
            comparison_operator=_ABOVE,
            treat_missing_data=_SILENCE,
            alarm_description=(
                f"95th percentile of model latency of {endpoint.endpoint_name} above {policy.max_latency_ms} ms: SageMaker rolls "
                "a deployment back; compare with the model before"
            ),
        )
        alarms.append(latency)
    for alarm in alarms:
        alarm.add_alarm_action(actions.SnsAction(topic))
    return list(alarms)
