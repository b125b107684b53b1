"""A monitor of one endpoint: counts its captures, decides over a window on a schedule."""

from collections.abc import Iterator

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._functions import QueueConsumer
from mlops_constructs._platform_rules import rule_problems
from mlops_constructs._validation import check_duration, is_known, raise_if_any
from mlops_constructs.model_endpoint import IModelEndpoint, IServedModel
from mlops_constructs.model_monitor.monitor_engine import MonitorEngine
from mlops_constructs.model_monitor.monitor_functions import (
    Evidence,
    MonitorAccess,
    define_counts,
    define_decide,
    define_job,
    define_layer,
    define_schedule,
)
from mlops_constructs.model_monitor.monitor_interface import IModelMonitor
from mlops_constructs.model_monitor.monitor_metrics import ImportedMonitor, MonitorBase
from mlops_constructs.model_monitor.sagemaker_schedules import define_sagemaker_monitors
from mlops_runtime.contracts import canonical_json
from mlops_runtime.monitor.job_start import MAXIMUM_ENDPOINT_NAME
from mlops_runtime.monitor.spec import MonitorSpec

# a metric of its own costs money each month
_MOST_ALARM_FEATURES = 50
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: all variables of a function have 4 KB
_MOST_CHARACTERS = 2500


@checked("InvalidModelMonitor")
class ModelMonitor(MonitorBase):
    """Watch the data and the quality of an endpoint's model. Stateless.

    Counts captures against the live model's baseline, merges the window and decides: whether features drifted, whether quality,
    bias or latency got worse, or why it cannot know. It writes reports, metrics and an event; ``DriftAlarms`` alarms on them.

    Args:
        scope: Parent.
        id: Construct id.
        endpoint: The endpoint; it must capture its calls. The monitor belongs to the endpoint's unit.
        window: How much of the past each decision is about, whole hours from one hour to 90 days.
        interval: How often it is decided, from one hour up to the window: a longer interval would leave gaps between windows. A
            week is decided on Mondays and a day every day, at a quarter past six in the morning UTC, when the labels of the night
            are in; 1, 2, 3, 4, 6, 8 and 12 hours at a quarter past, when captures have landed; any other time counts from the
            deployment.
        spec: What is tested and how strictly. Default: ``MonitorSpec()``, every feature of the baseline.
        engine: What counts and decides. Default: ``MonitorEngine.on_lambda()``, each capture as it lands.

    Raises:
        ValidationError: If the endpoint captures nothing or has a monitor, a duration is not possible, or the
            spec does not fit.

    Example:
        >>> import aws_cdk as cdk
        >>> monitor = ModelMonitor(self, "Monitor", endpoint=endpoint, window=cdk.Duration.days(7),
        ...                        interval=cdk.Duration.days(1))
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint: IServedModel,
        window: cdk.Duration,
        interval: cdk.Duration,
        spec: MonitorSpec | None = None,
        engine: MonitorEngine | None = None,
    ) -> None:
        super().__init__(scope, id, endpoint=endpoint, window=window, interval=interval, spec=spec, engine=engine)
        self._endpoint, business_unit = endpoint, endpoint.business_unit
        captures = self._validate(window)
        # nothing in the template: it is how a second monitor of the endpoint, in any stack, finds the first
        Construct(*self._mark)
        endpoint.rollout.publish_monitor()
        access = MonitorAccess(
            scope=self,
            business_unit=business_unit,
            endpoint=endpoint,
            captures=captures,
            period_hours=-(-int(interval.to_seconds(integral=False)) // 3600),
        )
        self._counts: QueueConsumer | None = None
        self._decide = self._define_engine(access, int(window.to_hours()))
        define_schedule(access, self._decide, every=interval)
        business_unit.tag(self)

    @classmethod
    def from_monitor_attributes(
        cls,
        scope: Construct,
        id: str,
        *,
        endpoint: IModelEndpoint,
        function_name: str,
        window: cdk.Duration,
        interval: cdk.Duration,
        spec: MonitorSpec | None = None,
        engine: MonitorEngine | None = None,
    ) -> IModelMonitor:
        """Import the monitor of another stack, for ``DriftAlarms`` and dashboards of its metrics; ``MonitorTables`` stay there.

        Args:
            scope: Parent.
            id: Construct id.
            endpoint: The endpoint, of ``ModelEndpoint.from_endpoint_name`` with its unit, which is imported too.
            function_name: Name of the monitor's function, ``decide_function.function_name`` where it is defined.
            window: How much of the past each decision is about, as there.
            interval: How often it is decided, as there.
            spec: What is tested and how strictly, as there. Default: ``MonitorSpec()``.
            engine: What counts and decides, as there. Default: ``MonitorEngine.on_lambda()``.

        Example:
            >>> from mlops_constructs import ModelEndpoint
            >>> forecast = ModelEndpoint.from_endpoint_name(self, "Forecast", endpoint_name="demand-forecast", business_unit=unit)
            >>> imported = ModelMonitor.from_monitor_attributes(self, "Imported", endpoint=forecast, function_name="decide",
            ...     window=cdk.Duration.days(7), interval=cdk.Duration.days(1))
            >>> imported.custom_metric_count > 0
            True
        """
        return ImportedMonitor(
            scope,
            id,
            endpoint=endpoint,
            function_name=function_name,
            window=window,
            interval=interval,
            spec=spec,
            engine=engine,
        )

    @property
    def queue(self) -> sqs.IQueue:
        """Queue of capture objects to count.

        Raises:
            ValidationError: If the engine counts no object as it lands.
        """
        if self._counts is None:
            problem = f"only MonitorEngine.on_lambda() counts objects from a queue, got {self._engine.name}"
            raise ValidationError("NoQueue", [problem], self)
        return self._counts.queue

    def _define_engine(self, access: MonitorAccess, window_hours: int) -> lambda_.Function:
        if self._engine.job is not None:
            self._endpoint.rollout.require_image(self._engine.job.image)
            return define_job(access, self._engine.job, spec=self._spec, window_hours=window_hours)
        numpy, evidence = define_layer(access), Evidence()
        if self._engine.model_monitor is None:
            self._counts = define_counts(access, numpy)
        else:
            monitors = define_sagemaker_monitors(
                self, business_unit=self._unit, endpoint=self._endpoint, settings=self._engine.model_monitor
            )
            evidence = Evidence(environment=monitors.environment, statements=monitors.statements)
        return define_decide(access, numpy, spec=self._spec, window_hours=window_hours, evidence=evidence)

    def _validate(self, window: cdk.Duration) -> s3.IBucket:
        hour, captures = cdk.Duration.hours(1), self._endpoint.capture_bucket
        raise_if_any(
            self,
            "InvalidModelMonitor",
            [
                "endpoint must capture its calls; give it capture=DataCapture(sampling_percent=100)"
                if captures is None
                else None,
                f"endpoint must have one monitor, got a second of {self._endpoint.endpoint_name!r}: both would write "
                "the same reports; leave one out"
                if self._mark[0].node.try_find_child(self._mark[1])
                else None,
                check_duration("window", window, minimum=hour, maximum=cdk.Duration.days(90)),
                check_duration("interval", self._interval, minimum=hour, maximum=cdk.Duration.days(90)),
                *_steps(window, self._interval),
                *self._limits(),
                *self._executions(window),
                *self._loosened(),
            ],
        )
        assert captures is not None  # noqa: S101 - checked above, for the type checker
        return captures

    def _loosened(self) -> list[str]:
        """Return what the platform says of the engine's jobs."""
        job, settings = self._engine.job, self._engine.model_monitor
        return rule_problems(
            self._endpoint.business_unit,
            self,
            images={} if job is None else {"engine.image": job.image},
            instance_types={
                "engine.instance_type": None if job is None else job.instance_type,
                "engine.model_monitor.instance_type": None if settings is None else settings.instance_type,
            },
        )

    @property
    def _mark(self) -> tuple[Construct, str]:
        """Stack and id of what says that the endpoint, whose row is in one table, has a monitor."""
        table = self._endpoint.rollout.table
        return table.stack, f"Monitored{table.node.addr}"

    def _limits(self) -> Iterator[str]:
        if isinstance(self._spec, MonitorSpec):
            size, features = len(canonical_json(self._spec)), self._spec.alarm_features
            if len(features) > _MOST_ALARM_FEATURES:
                yield (
                    f"spec.alarm_features must be at most {_MOST_ALARM_FEATURES}, got {len(features)}; each is a metric that is "
                    "paid for by the month, and the report names every feature"
                )
            if size > _MOST_CHARACTERS:
                yield (
                    f"spec must have at most {_MOST_CHARACTERS} characters as JSON, got {size}; name fewer features: none is all"
                )
        name = self._endpoint.endpoint_name
        is_job = isinstance(self._engine, MonitorEngine) and self._engine.job is not None
        if is_job and is_known(name) and len(name) > MAXIMUM_ENDPOINT_NAME:
            yield f"endpoint must have a name of at most {MAXIMUM_ENDPOINT_NAME} characters for a job, got {name!r}"

    def _executions(self, window: cdk.Duration) -> Iterator[str]:
        """Yield what keeps Model Monitor's executions, of which a window's count, from ever confirming a drift."""
        settings = self._engine.model_monitor if isinstance(self._engine, MonitorEngine) else None
        if settings is None or "data_quality" not in settings.monitors or not isinstance(self._spec, MonitorSpec):
            return
        if not isinstance(window, cdk.Duration) or window.is_unresolved():
            return
        needed, hours = self._spec.alarm_windows, self._spec.alarm_windows * settings.period_hours
        if window.to_seconds(integral=False) < hours * 3600:
            yield (
                f"window must be at least {hours} hours, alarm_windows ({needed}) executions of Model Monitor, got "
                f"{window.to_human_string()}: no feature could ever drift; widen the window, or give MonitorSpec(alarm_windows=1)"
            )


def _steps(window: cdk.Duration, interval: cdk.Duration) -> Iterator[str]:
    """Yield what keeps windows from lying beside or over one another."""
    if not isinstance(window, cdk.Duration) or window.is_unresolved():
        return
    if window.to_seconds(integral=False) % 3600:
        yield f"window must be whole hours, got {window.to_human_string()}; captures lie by the hour"
    if not isinstance(interval, cdk.Duration) or interval.is_unresolved():
        return
    if interval.to_seconds(integral=False) > window.to_seconds(integral=False):
        yield (
            f"interval must be at most the window, {window.to_human_string()}, got {interval.to_human_string()}: calls "
            "between two windows would not be watched; widen the window or decide oftener"
        )
