"""Interface of a model monitor, defined in the stack or imported."""

from typing import Protocol, Unpack

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs.model_endpoint.endpoint_interface import IWatchedModel
from mlops_constructs.model_endpoint.endpoint_metrics import MetricOptions
from mlops_constructs.model_monitor.monitor_engine import MonitorEngine
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.monitor.spec import MonitorSpec


class IModelMonitor(Protocol):
    """The monitor of one endpoint."""

    @property
    def business_unit(self) -> IBusinessUnit:
        """Business unit that owns the endpoint and its monitor."""
        ...

    @property
    def endpoint(self) -> IWatchedModel:
        """Endpoint that is monitored."""
        ...

    @property
    def window(self) -> cdk.Duration:
        """Length of the time window that each decision covers."""
        ...

    @property
    def interval(self) -> cdk.Duration:
        """Time between decisions."""
        ...

    @property
    def spec(self) -> MonitorSpec:
        """Tests of the monitor and their limits."""
        ...

    @property
    def engine(self) -> MonitorEngine:
        """Engine that counts captures and decides."""
        ...

    @property
    def custom_metric_count(self) -> int:
        """Maximum number of custom metrics that the monitor publishes; each is billed monthly."""
        ...

    def metric_features_drifted(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of features with persistent drift, in enough of the last windows."""
        ...

    def metric_features_suspect(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of features that drifted in the last window only."""
        ...

    def metric_max_psi(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the largest PSI of any feature in the last window."""
        ...

    def metric_psi(self, feature: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the PSI of one feature in the last window."""
        ...

    def metric_baseline_tampered(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return 1 if the live model's baseline is missing or differs from the approved one."""
        ...

    def metric_unannounced_calls(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls with inference ids in the platform's format that no execution announced."""
        ...

    def metric_baseline_age_days(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the age of the live model's baseline in days."""
        ...

    def metric_capture_lag_hours(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the age of the newest capture in hours, if calls were made since."""
        ...

    def metric_wape_ratio(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the ratio of the live WAPE to the WAPE on the model's holdout."""
        ...

    def metric_wape_ratio_low(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the lower bound of that ratio's 95 % confidence interval."""
        ...

    def metric_quality(self, metric_name: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return a metric of the live model's quality."""
        ...

    def metric_quality_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of quality metrics beyond their limits, from ``quality_limits`` or the holdout."""
        ...

    def metric_estimates_beyond_limits(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of quality estimates without labels that are beyond ``estimate_limits``; no data without limits."""
        ...

    def metric_label_coverage(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the share of predictions whose label is due that have a label."""
        ...

    def metric_label_lag_hours(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the age of the newest label in hours."""
        ...

    def metric_bias_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of bias metrics that deviate from the baseline's."""
        ...

    def metric_ndcg(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the NDCG of the features' attribution ranking against the baseline's; 1 is the same ranking."""
        ...

    def metric_latency_ratio(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the largest ratio, of all percentiles, of the model's latency to that of the previous weeks."""
        ...

    def metric_latency_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of latency percentiles beyond the spec's limit or ratio."""
        ...

    def metric_heartbeat(self, **options: Unpack[MetricOptions]) -> cloudwatch.MathExpression:
        """Return the number of successful runs of the monitor's function, which for a job engine starts the job."""
        ...
