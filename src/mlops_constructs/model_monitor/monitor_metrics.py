"""What a monitor is known by, defined here or imported: its endpoint, window, spec and metrics."""

from typing import Unpack

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._errors import ValidationError
from mlops_constructs.model_endpoint import IModelEndpoint
from mlops_constructs.model_endpoint.endpoint_interface import IWatchedModel
from mlops_constructs.model_endpoint.endpoint_metrics import MetricOptions
from mlops_constructs.model_monitor.monitor_engine import MonitorEngine
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.monitor import metric_dimensions, metric_namespace
from mlops_runtime.monitor.metric_names import BEYOND_LIMITS, Monitor, metric_names
from mlops_runtime.monitor.spec import MonitorSpec

_HOUR = cdk.Duration.hours(1)


class MonitorBase(Construct):
    """A monitor by its endpoint, its function and what it decides."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint: IWatchedModel,
        window: cdk.Duration,
        interval: cdk.Duration,
        spec: MonitorSpec | None,
        engine: MonitorEngine | None,
    ) -> None:
        super().__init__(scope, id)
        self._watched, self._interval, self._window = endpoint, interval, window
        self._unit = endpoint.business_unit
        self._spec = MonitorSpec() if spec is None else spec
        self._engine = MonitorEngine.on_lambda() if engine is None else engine
        self._decide: lambda_.IFunction

    @property
    def business_unit(self) -> IBusinessUnit:
        """The unit whose endpoint it is."""
        return self._unit

    @property
    def endpoint(self) -> IWatchedModel:
        """The endpoint that is watched."""
        return self._watched

    @property
    def window(self) -> cdk.Duration:
        """How much of the past each decision is about."""
        return self._window

    @property
    def interval(self) -> cdk.Duration:
        """How often it is decided."""
        return self._interval

    @property
    def spec(self) -> MonitorSpec:
        """What is tested and how strictly."""
        return self._spec

    @property
    def engine(self) -> MonitorEngine:
        """What counts and decides."""
        return self._engine

    @property
    def decide_function(self) -> lambda_.IFunction:
        """Function that decides, or that starts the job which does; it takes the time from the event's ``time``."""
        return self._decide

    @property
    def custom_metric_count(self) -> int:
        """How many custom metrics it publishes at most; each is paid for by the month."""
        return len(metric_names(self._spec))

    def metric_features_drifted(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of features whose drift persists: enough of the last windows agree."""
        return self._metric("drift", "FeaturesDrifted", options)

    def metric_features_suspect(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of features that drifted in the last window alone."""
        return self._metric("drift", "FeaturesSuspect", options)

    def metric_features_to_inspect(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of features that moved far in the last window and that have too few independent rows for a test."""
        return self._metric("drift", "FeaturesToInspect", options)

    def metric_max_psi(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the largest PSI of any feature in the last window."""
        return self._metric("drift", "MaxPsi", options)

    def metric_psi(self, feature: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the PSI of one feature in the last window.

        Args:
            feature: One of the spec's ``alarm_features``: only these have a metric of their own.
            options: Label, period (default one hour) and statistic (default maximum).

        Raises:
            ValidationError: If the feature has none.
        """
        allowed = self._spec.alarm_features
        if feature not in allowed:
            problem = f"feature must be one of alarm_features ({', '.join(allowed) or 'none'}), got {feature!r}"
            raise ValidationError("UnknownFeature", [problem], self)
        return self._metric("drift", "Psi", options, feature=feature)

    def metric_baseline_tampered(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return 1 where the live model's baseline is not the one that was approved with it, or is gone."""
        return self._metric("drift", "BaselineTampered", options)

    def metric_unannounced_calls(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls whose inference ids look like the platform's own, and which no execution announced."""
        return self._metric("drift", "UnannouncedCalls", options)

    def metric_baseline_age_days(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return how old the live model's baseline is."""
        return self._metric("drift", "BaselineAgeDays", options)

    def metric_capture_lag_hours(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return how long ago the newest capture was written, where calls were made since."""
        return self._metric("drift", "CaptureLagHours", options)

    def metric_wape_ratio(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the live WAPE over the WAPE of the model's own holdout."""
        return self._metric("quality", "WapeRatio", options)

    def metric_wape_ratio_low(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the lower end of that ratio's 95 % interval: above a limit, the whole interval is."""
        return self._metric("quality", "WapeRatioLow", options)

    def metric_quality(self, metric_name: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return a metric of the live model's quality.

        Args:
            metric_name: Its name in CloudWatch, such as ``Rmse`` or ``Auc``.
            options: Label, period (default one hour) and statistic (default maximum).
        """
        return self._metric("quality", metric_name, options)

    def metric_quality_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of quality metrics that are worse than their limits, of ``quality_limits`` or from the holdout."""
        return self._metric("quality", "QualityViolations", options)

    def metric_estimates_beyond_limits(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of estimates, before labels come, that are worse than ``estimate_limits``; no data without any."""
        return self._metric("estimates", BEYOND_LIMITS, options)

    def metric_label_coverage(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the share of the predictions due a label that have one."""
        return self._metric("quality", "LabelCoverage", options)

    def metric_label_lag_hours(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return how long ago the newest label came."""
        return self._metric("quality", "LabelLagHours", options)

    def metric_bias_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of bias metrics that moved away from the baseline's."""
        return self._metric("bias", "BiasViolations", options)

    def metric_ndcg(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return how alike the features' ranking by attribution is to the baseline's; 1 is the same ranking."""
        return self._metric("explainability", "Ndcg", options, statistic=cloudwatch.Stats.MINIMUM)

    def metric_latency_ratio(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the model's latency over that of the weeks before, the worst of the percentiles."""
        return self._metric("latency", "LatencyRatio", options)

    def metric_latency_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of latency percentiles that are beyond the spec's limit or ratio."""
        return self._metric("latency", "LatencyViolations", options)

    def metric_heartbeat(self, **options: Unpack[MetricOptions]) -> cloudwatch.MathExpression:
        """Return the number of runs of the monitor's function that ended well; of a job's monitor, of runs that started the job.

        AWS Lambda publishes both, in a namespace into which no container can print a metric.

        See: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
        """
        period, statistic = options.get("period", _HOUR), options.get("statistic", cloudwatch.Stats.SUM)
        return cloudwatch.MathExpression(
            expression="runs - FILL(errors, 0)",
            using_metrics={
                "runs": self._decide.metric_invocations(period=period, statistic=statistic),
                "errors": self._decide.metric_errors(period=period, statistic=statistic),
            },
            period=period,
            label=options.get("label", "runs of the monitor"),
        )

    def _metric(
        self,
        monitor: Monitor,
        name: str,
        options: MetricOptions,
        *,
        feature: str | None = None,
        statistic: str = cloudwatch.Stats.MAXIMUM,
    ) -> cloudwatch.Metric:
        endpoint = self._watched
        dimensions = metric_dimensions(endpoint.endpoint_name, endpoint.variant, monitor)
        return cloudwatch.Metric(
            namespace=metric_namespace(self._unit.name),
            metric_name=name,
            dimensions_map=dimensions if feature is None else {**dimensions, "Feature": feature},
            label=options.get("label"),
            statistic=options.get("statistic", statistic),
            period=options.get("period", _HOUR),
        )


class _Watched:
    """An endpoint as an imported monitor knows it: without what its rollout needs."""

    def __init__(self, endpoint: IModelEndpoint) -> None:
        self._endpoint = endpoint

    @property
    def business_unit(self) -> IBusinessUnit:
        return self._endpoint.business_unit

    @property
    def endpoint_name(self) -> str:
        return self._endpoint.endpoint_name

    @property
    def variant(self) -> str:
        return self._endpoint.variant

    @property
    def capture_bucket(self) -> s3.IBucket | None:
        return None

    def metric_invocations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        return self._endpoint.metric_invocations(**options)


class ImportedMonitor(MonitorBase):
    """A monitor that another stack owns. Define one with ``ModelMonitor.from_monitor_attributes``."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint: IModelEndpoint,
        function_name: str,
        window: cdk.Duration,
        interval: cdk.Duration,
        spec: MonitorSpec | None,
        engine: MonitorEngine | None,
    ) -> None:
        super().__init__(
            scope, id, endpoint=_Watched(endpoint), window=window, interval=interval, spec=spec, engine=engine
        )
        self._decide = lambda_.Function.from_function_name(self, "Decide", function_name)
