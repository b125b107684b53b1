"""What counts captures and decides: functions, a job of ours, or SageMaker Model Monitor."""

from dataclasses import dataclass
from typing import Literal

import aws_cdk as cdk

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_pattern, check_type, check_whole
from mlops_constructs.model_monitor._sagemaker_settings import SageMakerModelMonitor
from mlops_constructs.model_registry import ModelImage

_INSTANCE_TYPE = r"ml\.[a-z0-9-]+\.[a-z0-9]+"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingClusterConfig.html
_MOST_INSTANCES = 100
_MOST_GIGABYTES = 16384
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingStoppingCondition.html
_SHORTEST, _LONGEST = cdk.Duration.minutes(1), cdk.Duration.days(5)
_MOST_ROWS = 100_000


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
        """Disk of each instance in GiB."""
        return int(self.volume.to_gibibytes(rounding=cdk.SizeRoundingBehavior.FLOOR))

    def problems(self) -> list[str | None]:
        """Return what is not possible."""
        return [
            check_type("image", self.image, ModelImage, allowed="a ModelImage such as ModelImage.from_ecr(...)"),
            check_pattern(
                "instance_type", self.instance_type, pattern=_INSTANCE_TYPE, allowed="a type such as 'ml.m5.xlarge'"
            ),
            check_whole("instance_count", self.instance_count, minimum=1, maximum=_MOST_INSTANCES),
            f"instance_count must be 1 without Spark, got {self.instance_count}; give spark=True, or a larger instance_type"
            if self.instance_count != 1 and not self.spark
            else None,
            check_whole("attribution_rows", self.attribution_rows, minimum=0, maximum=_MOST_ROWS),
            check_duration("max_runtime", self.max_runtime, minimum=_SHORTEST, maximum=_LONGEST),
            check_type("volume", self.volume, cdk.Size, allowed="a cdk.Size such as Size.gibibytes(30)")
            or check_whole("volume in GiB", self.volume_gigabytes, minimum=1, maximum=_MOST_GIGABYTES),
        ]


@checked("InvalidMonitorEngine")
@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorEngine:
    """What counts captures and decides. Use one of the three factories; report, metrics, events and alarms are the same.

    Example:
        >>> MonitorEngine.on_lambda().name
        'LAMBDA'
    """

    job: MonitorJob | None = None
    model_monitor: SageMakerModelMonitor | None = None

    @property
    def name(self) -> Literal["LAMBDA", "PROCESSING", "SAGEMAKER_MODEL_MONITOR"]:
        """Its name in reports."""
        if self.job is not None:
            return "PROCESSING"
        return "LAMBDA" if self.model_monitor is None else "SAGEMAKER_MODEL_MONITOR"

    @classmethod
    def on_lambda(cls) -> "MonitorEngine":
        """Count each capture object as it lands, and decide on the schedule, both in functions."""
        return cls()

    @classmethod
    def sagemaker_model_monitor(cls, settings: SageMakerModelMonitor) -> "MonitorEngine":
        """Let SageMaker Model Monitor's jobs analyze the captures; a function reads what they found and decides.

        AWS has closed it to new customers since 2026-07-30: it is for accounts that used it before.

        Args:
            settings: Which monitors run, how often, and against what.

        Raises:
            ValidationError: If the settings are of another type.

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
        """Count the window in a SageMaker Processing job on the schedule, which then decides; nothing is counted in between.

        It is for windows of more rows than functions count cheaply, and for what functions cannot do: explain the model.

        Args:
            image: Image of the job; it holds ``mlops_runtime``, with ``spark`` SageMaker's Spark container and with
                ``attribution_rows`` the package ``shap``.
            instance_type: Instance type of the job. Default: ``ml.m5.xlarge``.
            instance_count: Instances, 1 to 100; more than one counts with Spark. Default: 1.
            spark: Whether the capture objects are counted with Spark; the counts are the same. Default: in processes of one
                instance.
            attribution_rows: Rows of the window whose predictions are explained, at most 100,000. Default: 0, none are.
            max_runtime: Longest run, one minute to five days. Default: one hour.
            volume: Disk of each instance, 1 GiB to 16 TiB. Default: 30 GiB.

        Raises:
            ValidationError: With every value that is not possible.

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
        found = [problem for problem in job.problems() if problem is not None]
        if found:
            raise ValidationError("InvalidMonitorEngine", found)
        return cls(job=job)
