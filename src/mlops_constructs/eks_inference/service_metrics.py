"""Every metric that an application load balancer publishes of a service, as methods: of a slot, or of the whole.

See: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
"""

from typing import Literal, Unpack

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from constructs import Construct
from mlops_constructs.eks_inference.load_balancer import ServiceLoadBalancer
from mlops_constructs.model_endpoint.metrics import MetricOptions

NAMESPACE = "AWS/ApplicationELB"
Slot = Literal["blue", "green"]


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
