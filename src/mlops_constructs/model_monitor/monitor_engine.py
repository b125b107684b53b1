"""``MonitorEngine``: whether Lambda functions, a processing job or SageMaker Model Monitor compute a monitor."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import aws_cdk as cdk

from mlops_constructs._arguments import checked
from mlops_constructs._validation import (
    ValidationError,
    check_duration,
    check_pattern,
    check_range,
    check_whole,
    is_known,
    raise_problems,
)
from mlops_constructs.model_registry import ModelImage
from mlops_runtime.monitor.model_monitor.executions import MONITORS, MonitorName

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelQualityJobDefinition.html
PROBLEM_TYPES = ("Regression", "BinaryClassification", "MulticlassClassification")
# these two compare predictions with labels, and so analyze hours whose labels are due
WITH_LABELS: tuple[MonitorName, ...] = ("model_quality", "bias")
# these two run Clarify, which reads its analysis config from a file
WITH_CONFIG: tuple[MonitorName, ...] = ("bias", "explainability")

_INSTANCE_TYPE = r"ml\.[a-z0-9-]+\.[a-z0-9]+"
_S3_URI = r"s3://[a-z0-9.-]{3,63}/.+"
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-schedule-expression.html
_HOURLY = r"cron\(0 \* \? \* \* \*\)"
_DAILY = r"cron\(0 ([01]?[0-9]|2[0-3])(/([1-9]|1[0-9]|2[0-4]))? \? \* \* \*\)"
_CRON = "cron(0 * ? * * *), cron(0 HOUR ? * * *) or cron(0 HOUR/HOURS ? * * *)"
_HALF_HOUR = cdk.Duration.minutes(30)

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingClusterConfig.html
_MOST_INSTANCES = 100
_MOST_GIGABYTES = 16384
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingStoppingCondition.html
_SHORTEST, _LONGEST = cdk.Duration.minutes(1), cdk.Duration.days(5)
_MOST_ROWS = 100_000


@checked("InvalidSageMakerModelMonitor")
@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorBaseline:
    """Baseline of a Model Monitor monitor: S3 URIs of the output files of a baselining job.

    Args:
        constraints: URI of ``constraints.json``, or of ``analysis.json`` for bias and explainability.
        statistics: URI of ``statistics.json``, only used by data quality. Default: distributions are not compared.

    Example:
        >>> MonitorBaseline(constraints="s3://bucket/baseline/constraints.json").statistics is None
        True
    """

    constraints: str
    statistics: str | None = None


@checked("InvalidSageMakerModelMonitor")
@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerModelMonitor:
    """Settings of SageMaker Model Monitor for an endpoint.

    AWS has closed Model Monitor and Clarify to new customers since 2026-07-30: this is for accounts that used them before. The
    endpoint must exist when a job definition is created, so add this engine after the first model has been deployed.

    Args:
        monitors: Any of ``data_quality``, ``model_quality``, ``bias`` and ``explainability``. Default: ``data_quality``.
        schedule: Cron expression: hourly, or daily at an hour, optionally repeated every n hours from it. SageMaker starts up to
            20 minutes later. Default: hourly.
        instance_type: Instance type of the jobs. Default: ``ml.m5.xlarge``.
        instance_count: Number of instances per job, 1 to 100. Default: 1.
        volume: Volume of each instance, 1 GiB to 16 TiB. Default: 20 GiB.
        max_runtime: Maximum runtime of a job, up to a day, or 30 minutes on an hourly schedule. Default: 30 minutes.
        problem_type: ``Regression``, ``BinaryClassification`` or ``MulticlassClassification``; required by ``model_quality``.
        inference_attribute: Name or index of the prediction in the output, except for data quality. Default: ``0``.
        probability_attribute: Name or index of the probability, for classifiers, except for data quality. Default: none.
        probability_threshold: Probability from which a prediction is positive, 0 to 1. Default: AWS's, 0.5.
        label_delay: Time from a call until its label is available, whole hours up to 30 days; monitors with labels analyze hours
            that are older. Default: one day.
        baselines: Baseline by monitor. Default: below the unit's artifacts, where the deciding function writes the live model's.
        analysis_configs: S3 URI of Clarify's ``analysis_config.json`` by monitor; required by ``bias`` and ``explainability``.
        record_preprocessor: S3 URI of a script that flattens each record, for data and model quality. Default: none.
        post_analytics_processor: S3 URI of a script that runs after the analysis. Default: none.
        publish_metrics: Whether the jobs publish CloudWatch metrics, several per feature, which are billed; ``DriftAlarms`` does
            not need them. Default: no.

    Raises:
        ValidationError: If values are not allowed; lists every problem.

    Example:
        >>> SageMakerModelMonitor(monitors=("data_quality", "model_quality"), problem_type="Regression").period_hours
        1
    """

    monitors: tuple[MonitorName, ...] = ("data_quality",)
    schedule: str = "cron(0 * ? * * *)"
    instance_type: str = "ml.m5.xlarge"
    instance_count: int = 1
    volume: cdk.Size = field(default_factory=lambda: cdk.Size.gibibytes(20))
    max_runtime: cdk.Duration = _HALF_HOUR
    problem_type: str | None = None
    inference_attribute: str = "0"
    probability_attribute: str | None = None
    probability_threshold: float | None = None
    label_delay: cdk.Duration = field(default_factory=lambda: cdk.Duration.days(1))
    baselines: Mapping[MonitorName, MonitorBaseline] = field(default_factory=dict)
    analysis_configs: Mapping[MonitorName, str] = field(default_factory=dict)
    record_preprocessor: str | None = None
    post_analytics_processor: str | None = None
    publish_metrics: bool = False

    def __post_init__(self) -> None:
        raise_problems("InvalidSageMakerModelMonitor", (*self._chosen(), *self._sized(), *self._files()))

    @property
    def period_hours(self) -> int:
        """Hours between executions."""
        match = re.fullmatch(_DAILY, self.schedule)
        return 1 if match is None else int(match.group(3) or 24)

    def offsets(self) -> tuple[str, str]:
        """Return start and end of the window of a monitor with labels, as ISO 8601 durations relative to the execution.

        Example:
            >>> SageMakerModelMonitor().offsets()
            ('-PT25H', '-PT24H')
        """
        delay = int(self.label_delay.to_hours())
        return f"-PT{delay + self.period_hours}H", f"-PT{delay}H"

    def _chosen(self) -> list[str | None]:
        unknown = [name for name in self.monitors if name not in MONITORS]
        repeated = sorted({name for name in self.monitors if self.monitors.count(name) > 1})
        quality = "model_quality" in self.monitors
        return [
            None if self.monitors else f"monitors must name at least one of {', '.join(MONITORS)}",
            f"monitors must be of {', '.join(MONITORS)}, got {', '.join(map(repr, unknown))}" if unknown else None,
            f"monitors must name each once, got {', '.join(map(repr, repeated))} twice" if repeated else None,
            f"problem_type must be one of {', '.join(PROBLEM_TYPES)} for model_quality, got {self.problem_type!r}"
            if (quality or self.problem_type is not None) and self.problem_type not in PROBLEM_TYPES
            else None,
        ]

    def _sized(self) -> list[str | None]:
        hourly = self.period_hours == 1
        gigabytes = int(self.volume.to_gibibytes(rounding=cdk.SizeRoundingBehavior.FLOOR))
        return [
            check_pattern("schedule", self.schedule, pattern=f"{_HOURLY}|{_DAILY}", allowed=_CRON),
            check_pattern(
                "instance_type", self.instance_type, pattern=_INSTANCE_TYPE, allowed="a type such as 'ml.m5.xlarge'"
            ),
            check_whole("instance_count", self.instance_count, minimum=1, maximum=100),
            check_whole("volume in GiB", gigabytes, minimum=1, maximum=16384),
            check_duration(
                "max_runtime of an hourly schedule" if hourly else "max_runtime",
                self.max_runtime,
                minimum=cdk.Duration.minutes(1),
                maximum=_HALF_HOUR if hourly else cdk.Duration.days(1),
            ),
            check_range("probability_threshold", self.probability_threshold, minimum=0, maximum=1),
            check_duration(
                "label_delay", self.label_delay, minimum=cdk.Duration.hours(0), maximum=cdk.Duration.days(30)
            ),
            f"label_delay must be whole hours, got {self.label_delay.to_human_string()}"
            if self.label_delay.to_seconds(integral=False) % 3600
            else None,
        ]

    def _files(self) -> list[str | None]:
        needed = [name for name in self.monitors if name in WITH_CONFIG and name not in self.analysis_configs]
        idle = sorted({*self.baselines, *self.analysis_configs} - set(self.monitors))
        uris = {
            "record_preprocessor": self.record_preprocessor,
            "post_analytics_processor": self.post_analytics_processor,
            **{f"analysis_configs[{name!r}]": uri for name, uri in self.analysis_configs.items()},
            **{f"baselines[{name!r}].constraints": given.constraints for name, given in self.baselines.items()},
            **{f"baselines[{name!r}].statistics": given.statistics for name, given in self.baselines.items()},
        }
        return [
            f"analysis_configs must have Clarify's analysis_config.json of {', '.join(needed)}" if needed else None,
            f"baselines and analysis_configs must be of monitors that run, got {', '.join(map(repr, idle))}"
            if idle
            else None,
            *(
                f"{name} must be an S3 URI of an object, got {uri!r}"
                for name, uri in uris.items()
                if is_known(uri) and not re.fullmatch(_S3_URI, str(uri))
            ),
        ]


@checked("InvalidMonitorEngine")
@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorJob:
    """A SageMaker Processing job that counts a window and decides. Use ``MonitorEngine.processing``."""

    image: ModelImage
    instance_type: str
    instance_count: int
    spark: bool
    attribution_rows: int
    max_runtime: cdk.Duration
    volume: cdk.Size

    @property
    def volume_gigabytes(self) -> int:
        """Volume of each instance in GiB."""
        return int(self.volume.to_gibibytes(rounding=cdk.SizeRoundingBehavior.FLOOR))

    def problems(self) -> list[str | None]:
        """Return the values that are not allowed."""
        return [
            check_pattern(
                "instance_type", self.instance_type, pattern=_INSTANCE_TYPE, allowed="a type such as 'ml.m5.xlarge'"
            ),
            check_whole("instance_count", self.instance_count, minimum=1, maximum=_MOST_INSTANCES),
            f"instance_count must be 1 without Spark, got {self.instance_count}; give spark=True, or a larger instance_type"
            if self.instance_count != 1 and not self.spark
            else None,
            check_whole("attribution_rows", self.attribution_rows, minimum=0, maximum=_MOST_ROWS),
            check_duration("max_runtime", self.max_runtime, minimum=_SHORTEST, maximum=_LONGEST),
            check_whole("volume in GiB", self.volume_gigabytes, minimum=1, maximum=_MOST_GIGABYTES),
        ]


@checked("InvalidMonitorEngine")
@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorEngine:
    """Engine that counts captures and decides. Use a factory method; reports, metrics, events and alarms are the same for all.

    Example:
        >>> MonitorEngine.on_lambda().name
        'LAMBDA'
    """

    job: MonitorJob | None = None
    model_monitor: SageMakerModelMonitor | None = None

    @property
    def name(self) -> Literal["LAMBDA", "PROCESSING", "SAGEMAKER_MODEL_MONITOR"]:
        """Name of the engine in reports."""
        if self.job is not None:
            return "PROCESSING"
        return "LAMBDA" if self.model_monitor is None else "SAGEMAKER_MODEL_MONITOR"

    @classmethod
    def on_lambda(cls) -> "MonitorEngine":
        """Lambda functions that count each capture object when it is written, and decide on the schedule."""
        return cls()

    @classmethod
    def sagemaker_model_monitor(cls, settings: SageMakerModelMonitor) -> "MonitorEngine":
        """Jobs of SageMaker Model Monitor that analyze the captures, and a function that reads their results and decides.

        AWS has closed it to new customers since 2026-07-30: it is for accounts that used it before.

        Args:
            settings: Settings of Model Monitor.

        Raises:
            ValidationError: If ``settings`` has another type.

        Example:
            >>> MonitorEngine.sagemaker_model_monitor(settings).name
            'SAGEMAKER_MODEL_MONITOR'
        """
        if not isinstance(settings, SageMakerModelMonitor):
            problem = f"settings must be a SageMakerModelMonitor such as SageMakerModelMonitor(), got {settings!r}"
            raise ValidationError("InvalidMonitorEngine", [problem])
        return cls(model_monitor=settings)

    @classmethod
    def processing(
        cls,
        *,
        image: ModelImage,
        instance_type: str = "ml.m5.xlarge",
        instance_count: int = 1,
        spark: bool = False,
        attribution_rows: int = 0,
        max_runtime: cdk.Duration | None = None,
        volume: cdk.Size | None = None,
    ) -> "MonitorEngine":
        """A scheduled SageMaker Processing job that counts the whole window and decides.

        It suits windows with more rows than functions count economically, and monitors that compute feature attributions, which
        functions cannot.

        Args:
            image: Image of the job, with ``mlops_runtime``; for ``spark`` based on SageMaker's Spark container, and for
                ``attribution_rows`` with the package ``shap``.
            instance_type: Instance type of the job. Default: ``ml.m5.xlarge``.
            instance_count: Number of instances, 1 to 100; more than one requires ``spark``. Default: 1.
            spark: Whether Spark counts the capture objects, with the same results. Default: processes of one instance count.
            attribution_rows: Number of rows of the window whose predictions are explained, at most 100,000. Default: 0.
            max_runtime: Maximum runtime, one minute to five days. Default: one hour.
            volume: Volume of each instance, 1 GiB to 16 TiB. Default: 30 GiB.

        Raises:
            ValidationError: If values are not allowed; lists every problem.

        Example:
            >>> MonitorEngine.processing(image=image, attribution_rows=500).name
            'PROCESSING'
        """
        job = MonitorJob(
            image=image,
            instance_type=instance_type,
            instance_count=instance_count,
            spark=spark,
            attribution_rows=attribution_rows,
            max_runtime=cdk.Duration.hours(1) if max_runtime is None else max_runtime,
            volume=cdk.Size.gibibytes(30) if volume is None else volume,
        )
        raise_problems("InvalidMonitorEngine", job.problems())
        return cls(job=job)
