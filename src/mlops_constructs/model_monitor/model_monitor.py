"""The ``ModelMonitor`` construct: counts an endpoint's captures and decides about drift and quality on a schedule."""

from collections.abc import Iterator

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._functions import QueueConsumer
from mlops_constructs._platform_rules import rule_problems
from mlops_constructs._validation import ValidationError, check_duration, is_known, raise_if_any
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

# each has a metric of its own, which is billed monthly
_MOST_ALARM_FEATURES = 50
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 4 KB for all variables of a function
_MOST_CHARACTERS = 2500


@checked("InvalidModelMonitor")
class ModelMonitor(MonitorBase):
    """Monitor of the data and the quality of an endpoint's model. Stateless.

    Compares captured calls with the live model's baseline and decides for each window whether features drifted, whether quality,
    bias or latency got worse, or why that cannot be decided. Publishes reports, metrics and an event; ``DriftAlarms`` alarms on
    them.

    Args:
        scope: Parent construct.
        id: Construct id.
        endpoint: Endpoint to monitor, with data capture. The monitor belongs to the endpoint's unit.
        window: Length of the time window that each decision covers, whole hours from one hour to 90 days.
        interval: Time between decisions, from one hour up to ``window``, as a longer interval would leave gaps between windows.
            7 days: Mondays at 06:15 UTC; 1 day: daily at 06:15 UTC, after nightly labels; 1, 2, 3, 4, 6, 8 and 12 hours: at minute
            15, when captures have been written; any other interval counts from the deployment.
        spec: Tests of the monitor and their limits. Default: ``MonitorSpec()``, which tests every feature of the baseline.
        engine: Engine that counts captures and decides. Default: ``MonitorEngine.on_lambda()``.

    Raises:
        ValidationError: If the endpoint has no data capture or already has a monitor, a duration is out of range, or the spec is
            too large.

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
        # a marker without resources, by which a second monitor of the endpoint, in any stack, is detected
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
        """Import a monitor of another stack, for ``DriftAlarms`` and dashboards. ``MonitorTables`` need the defining stack.

        ``window``, ``interval``, ``spec`` and ``engine`` must be the same as in the defining stack.

        Args:
            scope: Parent construct.
            id: Construct id.
            endpoint: Endpoint from ``ModelEndpoint.from_endpoint_name``, with its imported unit.
            function_name: Name of the monitor's function, ``decide_function.function_name`` in the defining stack.
            window: Length of the time window that each decision covers.
            interval: Time between decisions.
            spec: Tests of the monitor and their limits. Default: ``MonitorSpec()``.
            engine: Engine that counts captures and decides. Default: ``MonitorEngine.on_lambda()``.

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
            ValidationError: If the engine is not ``MonitorEngine.on_lambda()``.
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
                "endpoint must have data capture; give it capture=DataCapture(sampling_percent=100)"
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
        """Return violations of the platform's rules by the engine's jobs."""
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
        """Scope and id of the marker that the endpoint has a monitor."""
        table = self._endpoint.rollout.table
        return table.stack, f"Monitored{table.node.addr}"

    def _limits(self) -> Iterator[str]:
        if isinstance(self._spec, MonitorSpec):
            size, features = len(canonical_json(self._spec)), self._spec.alarm_features
            if len(features) > _MOST_ALARM_FEATURES:
                yield (
                    f"spec.alarm_features must be at most {_MOST_ALARM_FEATURES}, got {len(features)}; each is a metric that is "
                    "billed monthly, and reports contain every feature anyway"
                )
            if size > _MOST_CHARACTERS:
                yield (
                    f"spec must have at most {_MOST_CHARACTERS} characters as JSON, got {size}; name fewer features, or no "
                    "features, which tests all of them"
                )
        name = self._endpoint.endpoint_name
        is_job = isinstance(self._engine, MonitorEngine) and self._engine.job is not None
        if is_job and is_known(name) and len(name) > MAXIMUM_ENDPOINT_NAME:
            yield f"endpoint must have a name of at most {MAXIMUM_ENDPOINT_NAME} characters for a job, got {name!r}"

    def _executions(self, window: cdk.Duration) -> Iterator[str]:
        """Yield a problem if a window contains too few executions of Model Monitor to ever confirm a drift."""
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
    """Yield problems with the window's length and gaps between windows."""
    if not isinstance(window, cdk.Duration) or window.is_unresolved():
        return
    if window.to_seconds(integral=False) % 3600:
        yield f"window must be whole hours, got {window.to_human_string()}; captures are stored by hour"
    if not isinstance(interval, cdk.Duration) or interval.is_unresolved():
        return
    if interval.to_seconds(integral=False) > window.to_seconds(integral=False):
        yield (
            f"interval must be at most the window, {window.to_human_string()}, got {interval.to_human_string()}: calls "
            "between two windows would not be monitored; increase window or decrease interval"
        )
