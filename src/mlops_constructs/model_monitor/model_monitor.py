"""A monitor of one endpoint: counts each capture as it lands, decides over a window on a schedule."""

from typing import TYPE_CHECKING, Literal

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs

from constructs import Construct
from mlops_constructs._assets import layer
from mlops_constructs._function import ARCHITECTURE, define_function
from mlops_constructs._iam import key_statement
from mlops_constructs._queue import QueueConsumer, define_queue_consumer
from mlops_constructs._validation import check_duration, raise_if_any
from mlops_constructs.model_endpoint import IServedModel
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import metric_dimensions, metric_namespace
from mlops_runtime.monitor.spec import MonitorSpec

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit

_REASON = (
    "captures, counts and reports lie below the endpoint's own prefixes by hour, and metrics have no resource type; "
    "rejected: one object for all, which concurrent captures would overwrite"
)


class ModelMonitor(Construct):
    """Watch the data and the quality of an endpoint's model. Stateless.

    Defines a function that counts each capture object as it lands, against the live model's baseline, and one that merges the
    window and decides: whether features drifted, whether quality fell, or why it cannot know. It writes reports and metrics;
    ``DriftAlarms`` alarms on them.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        endpoint: The endpoint; it must capture its calls.
        window: How much of the past each decision is about, whole hours from one hour to 90 days.
        schedule: How often it is decided, one hour to a year. A week is decided on Mondays and a day every day, at
            six in the morning UTC, when the labels of the night are in; any other time counts from the deployment.
        spec: What is tested and how strictly. Default: ``MonitorSpec()``, every feature of the baseline.

    Raises:
        ValidationError: If the endpoint captures nothing, or a duration is not possible.

    Example:
        >>> import aws_cdk as cdk
        >>> monitor = ModelMonitor(self, "Monitor", business_unit=unit, endpoint=endpoint, window=cdk.Duration.days(7),
        ...                        schedule=cdk.Duration.days(1))
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: "BusinessUnit",
        endpoint: IServedModel,
        window: cdk.Duration,
        schedule: cdk.Duration,
        spec: MonitorSpec | None = None,
    ) -> None:
        super().__init__(scope, id)
        captures = self._validate(endpoint, window, schedule)
        self._unit, self._endpoint, self._schedule = business_unit, endpoint, schedule
        self._spec = MonitorSpec() if spec is None else spec
        numpy = layer(self, "Layer", name="monitor", architecture=ARCHITECTURE)
        self._counts = self._define_counts(captures, numpy)
        self._decide = self._define_decide(captures, numpy, int(window.to_hours()))
        business_unit.tag(self)

    @property
    def endpoint(self) -> IServedModel:
        """The endpoint that is watched."""
        return self._endpoint

    @property
    def schedule(self) -> cdk.Duration:
        """How often it is decided."""
        return self._schedule

    @property
    def spec(self) -> MonitorSpec:
        """What is tested and how strictly."""
        return self._spec

    @property
    def queue(self) -> sqs.IQueue:
        """Queue of capture objects to count."""
        return self._counts.queue

    @property
    def decide_function(self) -> lambda_.IFunction:
        """Function that decides; it takes the time to decide for from the event's ``time``."""
        return self._decide

    def metric_features_drifted(self) -> cloudwatch.Metric:
        """Return the number of features that drifted in the last window."""
        return self._metric("drift", "FeaturesDrifted")

    def metric_max_psi(self) -> cloudwatch.Metric:
        """Return the largest PSI of any feature in the last window."""
        return self._metric("drift", "MaxPsi")

    def metric_wape_ratio(self) -> cloudwatch.Metric:
        """Return the live WAPE over the WAPE of the model's own holdout."""
        return self._metric("quality", "WapeRatio")

    def metric_heartbeat(self) -> cloudwatch.Metric:
        """Return the number of runs that came to a report."""
        return self._metric("heartbeat", "Heartbeat", statistic=cloudwatch.Stats.SUM)

    def _validate(self, endpoint: IServedModel, window: cdk.Duration, schedule: cdk.Duration) -> s3.IBucket:
        hour = cdk.Duration.hours(1)
        captures = endpoint.capture_bucket
        raise_if_any(
            self,
            "InvalidModelMonitor",
            [
                "endpoint must capture its calls; give it capture=DataCapture(percent=100)"
                if captures is None
                else None,
                check_duration("window", window, minimum=hour, maximum=cdk.Duration.days(90)),
                check_duration("schedule", schedule, minimum=hour, maximum=cdk.Duration.days(365)),
                None
                if window.to_seconds() % 3600 == 0
                else f"window must be whole hours, got {window.to_human_string()}; captures lie by the hour",
            ],
        )
        assert captures is not None  # noqa: S101 - checked above, for the type checker
        return captures

    def _metric(
        self,
        monitor: Literal["drift", "quality", "heartbeat"],
        name: str,
        statistic: str = cloudwatch.Stats.MAXIMUM,
    ) -> cloudwatch.Metric:
        endpoint = self._endpoint
        return cloudwatch.Metric(
            namespace=metric_namespace(self._unit.name),
            metric_name=name,
            dimensions_map=metric_dimensions(endpoint.endpoint_name, endpoint.variant, monitor),
            statistic=statistic,
            period=cdk.Duration.hours(1),
        )

    def _define_counts(self, captures: s3.IBucket, numpy: lambda_.ILayerVersion) -> QueueConsumer:
        unit, name = self._unit, self._endpoint.endpoint_name
        prefix = f"capture/{name}/"
        consumer = define_queue_consumer(
            self,
            "Counts",
            business_unit=unit,
            folder="capture_counts",
            description=f"Counts each capture of {name}",
            environment={
                "ENDPOINT": name,
                "ROLLOUT_TABLE": self._endpoint.rollout.table.table_name,
                "ARTIFACTS_BUCKET": unit.artifacts.bucket_name,
            },
            statements=[
                _objects("s3:GetObject", captures.arn_for_objects(f"{prefix}*"), self._baselines()),
                _objects("s3:PutObject", unit.artifacts.arn_for_objects(f"monitor/{name}/counts/*")),
                iam.PolicyStatement(actions=["dynamodb:GetItem"], resources=[self._endpoint.rollout.table.table_arn]),
                key_statement(unit.key, services=["dynamodb", "s3"]),
            ],
            timeout=cdk.Duration.minutes(2),
            memory_size=512,
            layers=[numpy],
            wildcard_reason=_REASON,
        )
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
        rule = events.Rule(
            self,
            "Captured",
            description=f"Captures of {name}",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={"bucket": {"name": [captures.bucket_name]}, "object": {"key": [{"prefix": prefix}]}},
            ),
        )
        rule.add_target(targets.SqsQueue(consumer.queue, dead_letter_queue=consumer.dead_letter_queue))
        return consumer

    def _define_decide(self, captures: s3.IBucket, numpy: lambda_.ILayerVersion, window_hours: int) -> lambda_.Function:
        unit, endpoint = self._unit, self._endpoint
        name, table = endpoint.endpoint_name, endpoint.rollout.table
        calls = [f"capture/{name}/*", f"labels/{name}/*"]
        counts, reports = f"monitor/{name}/counts/*", f"monitor/{name}/reports/*"
        function = define_function(
            self,
            "Decide",
            business_unit=unit,
            folder="monitor_decide",
            description=f"Decides whether data and quality of {name} hold",
            environment={
                "ENDPOINT": name,
                "VARIANT": endpoint.variant,
                "UNIT": unit.name,
                "ROLLOUT_TABLE": table.table_name,
                "ARTIFACTS_BUCKET": unit.artifacts.bucket_name,
                "CAPTURE_BUCKET": captures.bucket_name,
                "EVENT_BUS": unit.bus.event_bus_name,
                "WINDOW_HOURS": str(window_hours),
                "MONITOR": canonical_json(self._spec).decode(),
                **self._traffic_environment(),
            },
            statements=[
                _objects("s3:GetObject", *(captures.arn_for_objects(prefix) for prefix in calls)),
                _objects("s3:GetObject", unit.artifacts.arn_for_objects(counts), self._baselines()),
                _objects("s3:PutObject", unit.artifacts.arn_for_objects(reports)),
                _list(captures.bucket_arn, *calls),
                _list(unit.artifacts.bucket_arn, counts),
                iam.PolicyStatement(actions=["dynamodb:GetItem"], resources=[table.table_arn]),
                iam.PolicyStatement(
                    actions=["cloudwatch:PutMetricData"],
                    resources=["*"],
                    conditions={"StringEquals": {"cloudwatch:namespace": metric_namespace(unit.name)}},
                ),
                iam.PolicyStatement(actions=["cloudwatch:GetMetricStatistics"], resources=["*"]),
                iam.PolicyStatement(actions=["events:PutEvents"], resources=[unit.bus.event_bus_arn]),
                key_statement(unit.key, services=["dynamodb", "s3"]),
            ],
            timeout=cdk.Duration.minutes(10),
            memory_size=1024,
            layers=[numpy],
            wildcard_reason=_REASON,
        )
        rule = events.Rule(
            self,
            "Schedule",
            description=f"When the monitor of {name} decides",
            schedule=_schedule(self._schedule),
        )
        rule.add_target(targets.LambdaFunction(function, dead_letter_queue=unit.dead_letter_queue))
        return function

    def _traffic_environment(self) -> dict[str, str]:
        """Where the number of calls is published, where that is not SageMaker's own metric."""
        metric = self._endpoint.metric_invocations()
        if metric.namespace == "AWS/SageMaker":
            return {}
        names = {"namespace": metric.namespace, "metric": metric.metric_name, "dimensions": metric.dimensions}
        return {"TRAFFIC": cdk.Stack.of(self).to_json_string(names)}

    def _baselines(self) -> str:
        return self._unit.artifacts.arn_for_objects(f"evaluations/{self._endpoint.endpoint_name}/*")


def _schedule(every: cdk.Duration) -> events.Schedule:
    """Days and weeks are decided at a fixed time, not at that at which somebody happened to deploy."""
    if every.to_seconds() == cdk.Duration.days(7).to_seconds():
        return events.Schedule.cron(minute="0", hour="6", week_day="MON")
    if every.to_seconds() == cdk.Duration.days(1).to_seconds():
        return events.Schedule.cron(minute="0", hour="6")
    return events.Schedule.rate(every)


def _objects(action: str, *resources: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=[action], resources=list(resources))


def _list(bucket_arn: str, *prefixes: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        actions=["s3:ListBucket"], resources=[bucket_arn], conditions={"StringLike": {"s3:prefix": list(prefixes)}}
    )
