"""What alarms, dashboards and tables need of a monitor, defined in their stack or imported."""

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
        """The unit whose endpoint it is."""
        ...

    @property
    def endpoint(self) -> IWatchedModel:
        """The endpoint that is watched."""
        ...

    @property
    def window(self) -> cdk.Duration:
        """How much of the past each decision is about."""
        ...

    @property
    def interval(self) -> cdk.Duration:
        """How often it is decided."""
        ...

    @property
    def spec(self) -> MonitorSpec:
        """What is tested and how strictly."""
        ...

    @property
    def engine(self) -> MonitorEngine:
        """What counts and decides."""
        ...

    @property
    def custom_metric_count(self) -> int:
        """How many custom metrics it publishes at most; each is paid for by the month."""
        ...

    def metric_features_drifted(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of features whose drift persists: enough of the last windows agree."""
        ...

    def metric_features_suspect(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of features that drifted in the last window alone."""
        ...

    def metric_max_psi(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the largest PSI of any feature in the last window."""
        ...

    def metric_psi(self, feature: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the PSI of one feature in the last window."""
        ...

    def metric_baseline_tampered(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return 1 where the live model's baseline is not the one that was approved with it, or is gone."""
        ...

    def metric_unannounced_calls(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls whose inference ids look like the platform's own, and which no execution announced."""
        ...

    def metric_baseline_age_days(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return how old the live model's baseline is."""
        ...

    def metric_capture_lag_hours(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return how long ago the newest capture was written, where calls were made since."""
        ...

    def metric_wape_ratio(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the live WAPE over the WAPE of the model's own holdout."""
        ...

    def metric_wape_ratio_low(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the lower end of that ratio's 95 % interval: above a limit, the whole interval is."""
        ...

    def metric_quality(self, metric_name: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return a metric of the live model's quality."""
        ...

    def metric_quality_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of quality metrics that are worse than their limits, of ``quality_limits`` or from the holdout."""
        ...

    def metric_estimates_beyond_limits(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of estimates, before labels come, that are worse than ``estimate_limits``; no data without any."""
        ...

    def metric_label_coverage(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the share of the predictions due a label that have one."""
        ...

    def metric_label_lag_hours(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return how long ago the newest label came."""
        ...

    def metric_bias_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of bias metrics that moved away from the baseline's."""
        ...

    def metric_ndcg(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return how alike the features' ranking by attribution is to the baseline's; 1 is the same ranking."""
        ...

    def metric_latency_ratio(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the model's latency over that of the weeks before, the worst of the percentiles."""
        ...

    def metric_latency_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of latency percentiles that are beyond the spec's limit or ratio."""
        ...

    def metric_heartbeat(self, **options: Unpack[MetricOptions]) -> cloudwatch.MathExpression:
        """Return the number of runs of the monitor's function that ended well; of a job's monitor, of runs that started the job."""
        ...
