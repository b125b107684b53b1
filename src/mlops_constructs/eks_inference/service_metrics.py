"""Metrics of a service's load balancer and slots, and the alarms over them."""

from typing import Literal, Unpack

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlops_constructs.eks_inference.slot_load_balancer import ServiceLoadBalancer
from mlops_constructs.model_endpoint.endpoint_alarms import OFTEN_SAYS
from mlops_constructs.model_endpoint.endpoint_metrics import MetricOptions
from mlops_runtime.contracts.rollout import RolloutSpec

NAMESPACE = "AWS/ApplicationELB"
Slot = Literal["blue", "green"]

_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
# no calls, no errors, and an idle slot has no pods: the monitor's heartbeat reports missing traffic
_SILENCE = cloudwatch.TreatMissingData.NOT_BREACHING
_DEFAULT_LATENCY_MS = 1000


class SlotMetricOptions(MetricOptions, total=False):
    """What a caller may change of a metric that is published by slot too."""

    slot: Slot


class ServiceMetrics(Construct):
    """Metrics of a service on EKS.

    Each method takes ``label``, ``period`` (default five minutes), ``statistic`` (default as the metric asks for) and ``slot``:
    that of one target group instead of the whole load balancer.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        self._balancer: ServiceLoadBalancer

    def metric(self, metric_name: str, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return any of the load balancer's metrics.

        Args:
            metric_name: Its name at CloudWatch.
            options: Label, period (default five minutes), statistic (default average) and slot.
        """
        return self._metric(metric_name, options, cloudwatch.Stats.AVERAGE, slot=options.get("slot"))

    def metric_invocations(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls that pods were given."""
        return self._metric("RequestCount", options, cloudwatch.Stats.SUM, slot=options.get("slot"))

    def metric_invocations_per_pod(self, *, slot: Slot, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return calls a pod of a slot; it is published by target group alone."""
        return self._metric("RequestCountPerTarget", options, cloudwatch.Stats.SUM, slot=slot)

    def metric_latency(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the pods' own time in seconds."""
        return self._metric("TargetResponseTime", options, "p99", slot=options.get("slot"))

    def metric_invocation_2xx(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls that were answered."""
        return self._metric("HTTPCode_Target_2XX_Count", options, cloudwatch.Stats.SUM, slot=options.get("slot"))

    def metric_invocation_4xx_errors(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls that the model refused."""
        return self._metric("HTTPCode_Target_4XX_Count", options, cloudwatch.Stats.SUM, slot=options.get("slot"))

    def metric_invocation_5xx_errors(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls that failed at the server."""
        return self._metric("HTTPCode_Target_5XX_Count", options, cloudwatch.Stats.SUM, slot=options.get("slot"))

    def metric_connection_errors(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the number of connections to pods that could not be made."""
        return self._metric("TargetConnectionErrorCount", options, cloudwatch.Stats.SUM, slot=options.get("slot"))

    def metric_healthy_pods(self, *, slot: Slot, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of healthy pods of a slot; it is published by target group alone."""
        return self._metric("HealthyHostCount", options, cloudwatch.Stats.MINIMUM, slot=slot)

    def metric_unhealthy_pods(self, *, slot: Slot, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of pods of a slot that do not answer their health check."""
        return self._metric("UnHealthyHostCount", options, cloudwatch.Stats.MAXIMUM, slot=slot)

    def metric_load_balancer_5xx_errors(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls that the load balancer itself failed, such as for want of a healthy pod."""
        return self._metric("HTTPCode_ELB_5XX_Count", options, cloudwatch.Stats.SUM)

    def metric_load_balancer_4xx_errors(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls that the load balancer itself refused."""
        return self._metric("HTTPCode_ELB_4XX_Count", options, cloudwatch.Stats.SUM)

    def metric_rejected_connections(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of connections for which the load balancer had no room."""
        return self._metric("RejectedConnectionCount", options, cloudwatch.Stats.SUM)

    def metric_active_connections(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of open connections from callers and to pods."""
        return self._metric("ActiveConnectionCount", options, cloudwatch.Stats.SUM)

    def metric_processed_bytes(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the bytes that the load balancer passed on."""
        return self._metric("ProcessedBytes", options, cloudwatch.Stats.SUM)

    def metric_consumed_units(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the capacity units by which the load balancer is paid."""
        return self._metric("ConsumedLCUs", options, cloudwatch.Stats.SUM)

    def _metric(
        self, name: str, options: MetricOptions, statistic: str, *, slot: Slot | None = None
    ) -> cloudwatch.Metric:
        dimensions = {"LoadBalancer": self._balancer.full_name}
        if slot is not None:
            dimensions["TargetGroup"] = self._balancer.target_group_names[slot]
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map=dimensions,
            label=options.get("label"),
            period=options.get("period", cdk.Duration.minutes(5)),
            statistic=options.get("statistic", statistic),
        )


def define_slot_alarms(
    scope: Construct, id: str, *, slot: Slot, service: ServiceMetrics, name: str, policy: RolloutSpec, topic: sns.ITopic
) -> list[cloudwatch.Alarm]:
    """Define the alarms of one slot: a rollout that shifts traffic to it rolls back when one of them fires.

    Args:
        scope: Parent.
        id: Prefix of their construct ids.
        slot: The slot.
        service: Its metrics.
        name: Name of the service.
        policy: What is accepted, and for how long.
        topic: Topic to notify.
    """
    period = cdk.Duration.seconds(policy.alarm_period)
    latency = _DEFAULT_LATENCY_MS if policy.max_latency_ms is None else policy.max_latency_ms
    found = [
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
                f"a pod of slot {slot} of {name} has not answered /ping for three minutes; inspect it with: kubectl describe pod "
                f"-l app.kubernetes.io/name={name},mlops.constructs/slot={slot}"
            ),
        ),
    ]
    # without an absolute limit both slots are compared
    if policy.max_error_count is not None:
        errors = service.metric_invocation_5xx_errors(slot=slot, period=period).create_alarm(
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
        )
        found.insert(0, errors)
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
        topic: Topic to notify.
    """
    total = cloudwatch.MathExpression(
        # `RequestCount` leaves out what the load balancer answers itself for want of a pod
        expression="IF(FILL(pods, 0) + FILL(balancer, 0) >= 5 AND FILL(pods, 0) + FILL(balancer, 0) > "
        "0.01 * (FILL(calls, 0) + FILL(balancer, 0)), 1, 0)",
        using_metrics={
            "pods": service.metric_invocation_5xx_errors(),
            "balancer": service.metric_load_balancer_5xx_errors(),
            "calls": service.metric_invocations(),
        },
        label="5xx on more than 1 % of the calls",
        period=cdk.Duration.minutes(5),
    )
    alarm = total.create_alarm(
        scope,
        id,
        threshold=1,
        evaluation_periods=3,
        datapoints_to_alarm=3,
        comparison_operator=_AT_LEAST,
        treat_missing_data=_SILENCE,
        alarm_description=(
            f"{name} answered with {OFTEN_SAYS}; check the targets' health and the pods' log, or start the Deploy machine with "
            "reason=rollback"
        ),
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    return alarm
