"""Base of defined and imported monitors: endpoint, window, spec and CloudWatch metrics."""

from typing import Unpack

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._validation import ValidationError
from mlops_constructs.model_endpoint import IModelEndpoint
from mlops_constructs.model_endpoint.endpoint_interface import IWatchedModel
from mlops_constructs.model_endpoint.endpoint_metrics import MetricOptions
from mlops_constructs.model_monitor.monitor_engine import MonitorEngine
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.monitor import metric_dimensions, metric_namespace
from mlops_runtime.monitor.cloudwatch_metrics import BEYOND_LIMITS, Monitor, metric_names
from mlops_runtime.monitor.spec import MonitorSpec

_HOUR = cdk.Duration.hours(1)


class MonitorBase(Construct):
    """A monitor with its endpoint, settings, function and metrics."""

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
        """Business unit that owns the endpoint and its monitor."""
        return self._unit

    @property
    def endpoint(self) -> IWatchedModel:
        """Endpoint that is monitored."""
        return self._watched

    @property
    def window(self) -> cdk.Duration:
        """Length of the time window that each decision covers."""
        return self._window

    @property
    def interval(self) -> cdk.Duration:
        """Time between decisions."""
        return self._interval

    @property
    def spec(self) -> MonitorSpec:
        """Tests of the monitor and their limits."""
        return self._spec

    @property
    def engine(self) -> MonitorEngine:
        """Engine that counts captures and decides."""
        return self._engine

    @property
    def decide_function(self) -> lambda_.IFunction:
        """Function that decides, or that starts the job that decides; the window ends at the event's ``time``."""
        return self._decide

    @property
    def custom_metric_count(self) -> int:
        """Maximum number of custom metrics that the monitor publishes; each is billed monthly."""
        return len(metric_names(self._spec))

    def metric_features_drifted(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of features with persistent drift, in enough of the last windows."""
        return self._metric("drift", "FeaturesDrifted", options)

    def metric_features_suspect(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of features that drifted in the last window only."""
        return self._metric("drift", "FeaturesSuspect", options)

    def metric_features_to_inspect(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of features with a large shift in the last window but too few independent rows for a test."""
        return self._metric("drift", "FeaturesToInspect", options)

    def metric_max_psi(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the largest PSI of any feature in the last window."""
        return self._metric("drift", "MaxPsi", options)

    def metric_psi(self, feature: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the PSI of one feature in the last window.

        Args:
            feature: One of the spec's ``alarm_features``; other features have no metric of their own.
            options: Label, period (default one hour) and statistic (default maximum).

        Raises:
            ValidationError: If the feature is not in ``alarm_features``.
        """
        allowed = self._spec.alarm_features
        if feature not in allowed:
            problem = f"feature must be one of alarm_features ({', '.join(allowed) or 'none'}), got {feature!r}"
            raise ValidationError("UnknownFeature", [problem], self)
        return self._metric("drift", "Psi", options, feature=feature)

    def metric_baseline_tampered(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return 1 if the live model's baseline is missing or differs from the approved one."""
        return self._metric("drift", "BaselineTampered", options)

    def metric_unannounced_calls(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls with inference ids in the platform's format that no execution announced."""
        return self._metric("drift", "UnannouncedCalls", options)

    def metric_baseline_age_days(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the age of the live model's baseline in days."""
        return self._metric("drift", "BaselineAgeDays", options)

    def metric_capture_lag_hours(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the age of the newest capture in hours, if calls were made since."""
        return self._metric("drift", "CaptureLagHours", options)

    def metric_wape_ratio(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the ratio of the live WAPE to the WAPE on the model's holdout."""
        return self._metric("quality", "WapeRatio", options)

    def metric_wape_ratio_low(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the lower bound of that ratio's 95 % confidence interval."""
        return self._metric("quality", "WapeRatioLow", options)

    def metric_quality(self, metric_name: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return a metric of the live model's quality.

        Args:
            metric_name: Name of the metric in CloudWatch, such as ``Rmse`` or ``Auc``.
            options: Label, period (default one hour) and statistic (default maximum).
        """
        return self._metric("quality", metric_name, options)

    def metric_quality_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of quality metrics beyond their limits, from ``quality_limits`` or the holdout."""
        return self._metric("quality", "QualityViolations", options)

    def metric_estimates_beyond_limits(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of quality estimates without labels that are beyond ``estimate_limits``; no data without limits."""
        return self._metric("estimates", BEYOND_LIMITS, options)

    def metric_label_coverage(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the share of predictions whose label is due that have a label."""
        return self._metric("quality", "LabelCoverage", options)

    def metric_label_lag_hours(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the age of the newest label in hours."""
        return self._metric("quality", "LabelLagHours", options)

    def metric_bias_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of bias metrics that deviate from the baseline's."""
        return self._metric("bias", "BiasViolations", options)

    def metric_ndcg(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the NDCG of the features' attribution ranking against the baseline's; 1 is the same ranking."""
        return self._metric("explainability", "Ndcg", options, statistic=cloudwatch.Stats.MINIMUM)

    def metric_latency_ratio(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the largest ratio, of all percentiles, of the model's latency to that of the previous weeks."""
        return self._metric("latency", "LatencyRatio", options)

    def metric_latency_violations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of latency percentiles beyond the spec's limit or ratio."""
        return self._metric("latency", "LatencyViolations", options)

    def metric_heartbeat(self, **options: Unpack[MetricOptions]) -> cloudwatch.MathExpression:
        """Return the number of successful runs of the monitor's function, which for a job engine starts the job.

        AWS Lambda publishes the underlying metrics, in a namespace to which no container can publish.

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
    """Adapts an imported endpoint to ``IWatchedModel``; the capture bucket is unknown."""

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
    """A monitor that another stack defines; see ``ModelMonitor.from_monitor_attributes``."""

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
