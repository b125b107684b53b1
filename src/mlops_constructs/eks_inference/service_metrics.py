"""Metrics of a service's load balancer and slots, and the alarms over them."""

from typing import Literal, Unpack

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlops_constructs.eks_inference.slot_load_balancer import ServiceLoadBalancer
from mlops_constructs.model_endpoint.endpoint_alarms import OFTEN_TEXT
from mlops_constructs.model_endpoint.endpoint_metrics import MetricOptions
from mlops_runtime.contracts.rollout import RolloutSpec

NAMESPACE = "AWS/ApplicationELB"
Slot = Literal["blue", "green"]

_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
# without requests there are no errors, and an idle slot has no pods: the monitor's alarm reports missing traffic
_SILENCE = cloudwatch.TreatMissingData.NOT_BREACHING
_DEFAULT_LATENCY_MS = 1000


class SlotMetricOptions(MetricOptions, total=False):
    """Options of a metric that is also published per slot."""

    slot: Slot


class ServiceMetrics(Construct):
    """Metrics of a service on EKS.

    Each method accepts ``label``, ``period`` (default five minutes), ``statistic`` (default by metric) and ``slot``, for the metric
    of one target group instead of the whole load balancer.
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
        """Return the number of requests that pods received."""
        return self._metric("RequestCount", options, cloudwatch.Stats.SUM, slot=options.get("slot"))

    def metric_invocations_per_pod(self, *, slot: Slot, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests per pod of a slot, which is only published per target group."""
        return self._metric("RequestCountPerTarget", options, cloudwatch.Stats.SUM, slot=slot)

    def metric_latency(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the response time of the pods in seconds."""
        return self._metric("TargetResponseTime", options, "p99", slot=options.get("slot"))

    def metric_invocation_2xx(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the number of successful responses."""
        return self._metric("HTTPCode_Target_2XX_Count", options, cloudwatch.Stats.SUM, slot=options.get("slot"))

    def metric_invocation_4xx_errors(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests that the model rejected."""
        return self._metric("HTTPCode_Target_4XX_Count", options, cloudwatch.Stats.SUM, slot=options.get("slot"))

    def metric_invocation_5xx_errors(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests that failed in the server."""
        return self._metric("HTTPCode_Target_5XX_Count", options, cloudwatch.Stats.SUM, slot=options.get("slot"))

    def metric_connection_errors(self, **options: Unpack[SlotMetricOptions]) -> cloudwatch.Metric:
        """Return the number of connections to pods that could not be established."""
        return self._metric("TargetConnectionErrorCount", options, cloudwatch.Stats.SUM, slot=options.get("slot"))

    def metric_healthy_pods(self, *, slot: Slot, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of healthy pods of a slot, which is only published per target group."""
        return self._metric("HealthyHostCount", options, cloudwatch.Stats.MINIMUM, slot=slot)

    def metric_unhealthy_pods(self, *, slot: Slot, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of pods of a slot that fail their health check."""
        return self._metric("UnHealthyHostCount", options, cloudwatch.Stats.MAXIMUM, slot=slot)

    def metric_load_balancer_5xx_errors(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests that failed in the load balancer itself, such as without a healthy pod."""
        return self._metric("HTTPCode_ELB_5XX_Count", options, cloudwatch.Stats.SUM)

    def metric_load_balancer_4xx_errors(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests that the load balancer itself rejected."""
        return self._metric("HTTPCode_ELB_4XX_Count", options, cloudwatch.Stats.SUM)

    def metric_rejected_connections(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of connections that the load balancer rejected at its limit."""
        return self._metric("RejectedConnectionCount", options, cloudwatch.Stats.SUM)

    def metric_active_connections(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of open connections of clients and to pods."""
        return self._metric("ActiveConnectionCount", options, cloudwatch.Stats.SUM)

    def metric_processed_bytes(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of bytes that the load balancer processed."""
        return self._metric("ProcessedBytes", options, cloudwatch.Stats.SUM)

    def metric_consumed_units(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of load balancer capacity units, by which the load balancer is billed."""
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
        service: Metrics of the service.
        name: Name of the service.
        policy: Limits and alarm period.
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
                f"99th percentile latency of slot {slot} of {name} above {latency} ms for three periods; compare its pods and "
                f"their CPU "
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
                f"a pod of slot {slot} of {name} failed its health check /ping for three minutes; inspect it with: kubectl "
                f"describe pod "
                f"-l app.kubernetes.io/name={name},mlops.constructs/slot={slot}"
            ),
        ),
    ]
    # without an absolute limit the errors of both slots are compared
    if policy.max_error_count is not None:
        errors = service.metric_invocation_5xx_errors(slot=slot, period=period).create_alarm(
            scope,
            f"{id}Errors",
            threshold=policy.max_error_count,
            evaluation_periods=1,
            comparison_operator=_ABOVE,
            treat_missing_data=_SILENCE,
            alarm_description=(
                f"slot {slot} of {name} returned more than {policy.max_error_count} 5xx responses in {policy.alarm_period} s; "
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
    """Define the alarm on 5xx responses of the serving slot, including those of the load balancer itself.

    Args:
        scope: Parent.
        id: Construct id.
        service: Metrics of the service.
        name: Name of the service.
        topic: Topic to notify.
    """
    total = cloudwatch.MathExpression(
        # `RequestCount` excludes responses of the load balancer itself when it has no healthy pod
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
            f"{name} answered with {OFTEN_TEXT}; check the targets' health and the pods' log, or start the Deploy machine with "
            "reason=rollback"
        ),
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    return alarm
