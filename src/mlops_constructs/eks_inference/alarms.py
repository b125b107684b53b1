"""Alarms of a service on EKS: of each slot, and of whichever answers."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlops_constructs.eks_inference.service_metrics import ServiceMetrics, Slot
from mlops_runtime.contracts.rollout import RolloutSpec

_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
# no calls, no errors, and a slot that rests has no pods: that nobody calls is what the monitor's heartbeat says
_SILENCE = cloudwatch.TreatMissingData.NOT_BREACHING
_DEFAULT_LATENCY_MS = 1000


def define_slot_alarms(
    scope: Construct, id: str, *, slot: Slot, service: ServiceMetrics, name: str, policy: RolloutSpec, topic: sns.ITopic
) -> list[cloudwatch.Alarm]:
    """Define the alarms of one slot: a rollout that shifts traffic to it goes back when one of them rings.

    Args:
        scope: Parent.
        id: Prefix of their construct ids.
        slot: The slot.
        service: Its metrics.
        name: Name of the service.
        policy: What is accepted, and for how long.
        topic: Topic that hears of it.
    """
    period = cdk.Duration.seconds(policy.alarm_period)
    latency = _DEFAULT_LATENCY_MS if policy.max_latency_ms is None else policy.max_latency_ms
    found = [
        service.metric_invocation_5xx_errors(slot=slot, period=period).create_alarm(
            scope,
            f"{id}Errors",
            threshold=policy.max_error_count,
            evaluation_periods=1,
            comparison_operator=_ABOVE,
            treat_missing_data=_SILENCE,
            alarm_description=(
                f"slot {slot} of {name} answered with 5xx more than {policy.max_error_count} times in {policy.alarm_period} s; "
                f"read the log of the pods of {name}-{slot}"
            ),
        ),
        service.metric_latency(slot=slot, period=period).create_alarm(
            scope,
            f"{id}Latency",
            threshold=latency / 1000,  # TargetResponseTime is in seconds
            evaluation_periods=3,
            datapoints_to_alarm=3,
            comparison_operator=_ABOVE,
            treat_missing_data=_SILENCE,
            alarm_description=(
                f"99th percentile of slot {slot} of {name} above {latency} ms for three periods; compare its pods and their CPU "
                "with the other slot's"
            ),
        ),
        service.metric_unhealthy_pods(slot=slot, period=cdk.Duration.minutes(1)).create_alarm(
            scope,
            f"{id}Unhealthy",
            threshold=1,
            evaluation_periods=3,
            datapoints_to_alarm=3,
            comparison_operator=_AT_LEAST,
            treat_missing_data=_SILENCE,
            alarm_description=(
                f"a pod of slot {slot} of {name} has not answered /ping for three minutes; look at it with: kubectl describe pod "
                f"-l app.kubernetes.io/name={name},mlops.constructs/slot={slot}"
            ),
        ),
    ]
    for alarm in found:
        alarm.add_alarm_action(actions.SnsAction(topic))
    return found


def define_errors_alarm(
    scope: Construct, id: str, *, service: ServiceMetrics, name: str, topic: sns.ITopic
) -> cloudwatch.Alarm:
    """Define the alarm on answers with 5xx of whichever slot serves, those of the load balancer itself among them.

    Args:
        scope: Parent.
        id: Construct id.
        service: Its metrics.
        name: Name of the service.
        topic: Topic that hears of it.
    """
    total = cloudwatch.MathExpression(
        expression="FILL(pods, 0) + FILL(balancer, 0)",
        using_metrics={
            "pods": service.metric_invocation_5xx_errors(),
            "balancer": service.metric_load_balancer_5xx_errors(),
        },
        label="answers with 5xx",
        period=cdk.Duration.minutes(5),
    )
    alarm = total.create_alarm(
        scope,
        id,
        threshold=5,
        evaluation_periods=3,
        datapoints_to_alarm=3,
        comparison_operator=_AT_LEAST,
        treat_missing_data=_SILENCE,
        alarm_description=(
            f"{name} answered with 5xx at least 5 times in each of three periods of five minutes; look at the targets' health and "
            "the pods' log, or start the Deploy machine with reason=rollback"
        ),
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    return alarm
