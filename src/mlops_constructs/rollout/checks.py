"""What a new model must pass on its way, and for how long it may still be taken back."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_range
from mlops_constructs.rollout.golden import GoldenRequests
from mlops_runtime.contracts.serving import MetricRule, ShadowSpec

# Alarm periods that CloudWatch takes for metrics of AWS services, in seconds.
_ALARM_PERIODS = (60, 120, 180, 240, 300)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AutoRollbackConfig.html
MAXIMUM_ALARMS = 10


@checked("InvalidShadowTraffic")
@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowTraffic:
    """Copy calls to the candidate before it gets any, and throw its answers away.

    Args:
        percent: Share of the calls that is copied, 1 to 100 percent.
        bake: How long the candidate is watched, five minutes to a week.
        instance_count: Instances of the shadow. Default: one.

    Raises:
        ValidationError: If a value is not possible.

    Example:
        >>> import aws_cdk as cdk
        >>> ShadowTraffic(percent=10, bake=cdk.Duration.hours(1)).instance_count
        1
    """

    percent: int
    bake: cdk.Duration
    instance_count: int = 1

    def __post_init__(self) -> None:
        problems = [
            check_range("percent", self.percent, minimum=1, maximum=100),
            check_range("instance_count", self.instance_count, minimum=1, maximum=1000),
            check_duration("bake", self.bake, minimum=cdk.Duration.minutes(5), maximum=cdk.Duration.days(7)),
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidShadowTraffic", found)

    def to_spec(self) -> ShadowSpec:
        """Return it as the serving spec carries it."""
        return ShadowSpec(
            percent=self.percent, bake=int(self.bake.to_seconds(integral=False)), instance_count=self.instance_count
        )


@checked("InvalidRolloutChecks")
@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutChecks:
    """What may stop a rollout, how much evidence a promotion needs, and what watches it afterwards.

    Args:
        alarms: Alarms that roll back, besides those of the new fleet. Default: none.
        min_invocations: Calls that the new fleet must have served to be promoted: no evidence is not success. Default: 20, all
            at once none.
        max_error_count: Errors of the new fleet in one alarm period that are still accepted. Default: 1.
        max_latency: 95th percentile of the new fleet's model latency that rolls back. Default: it is not watched.
        max_latency_ratio: 99th percentile of the new fleet's model latency that rolls back, as a multiple of the old fleet's.
            Default: it is not compared.
        metrics: Metrics of the unit's own that roll back. Default: none.
        alarm_period: Period of the new fleet's alarms, one to five minutes. Default: one minute.
        golden: Requests that a candidate answers before it gets any traffic. Default: none.
        synthetic_invocations: Golden requests a minute that are sent while the rollout bakes, where real traffic is thin; needs
            ``golden``. Default: none.
        probation: How long after a promotion its alarms still roll back, ten minutes to 30 days. Default: not at all.
        probation_alarms: Alarms that do so, besides the endpoint's own on errors. Default: none.
        shadow: Traffic that is copied to the candidate before the first step. Default: none.
        retained_versions: Versions that stay to go back to, 1 to 10. Default: 1.

    Raises:
        ValidationError: With every setting that cannot work.

    Example:
        >>> RolloutChecks(max_latency_ratio=1.5).own_alarms
        ('errors', 'ratio', 'abort')
    """

    alarms: Sequence[cloudwatch.IAlarm] = ()
    min_invocations: int | None = None
    max_error_count: int = 1
    max_latency: cdk.Duration | None = None
    max_latency_ratio: float | None = None
    metrics: Sequence[MetricRule] = ()
    alarm_period: cdk.Duration = field(default_factory=lambda: cdk.Duration.minutes(1))
    golden: GoldenRequests | None = None
    synthetic_invocations: int | None = None
    probation: cdk.Duration | None = None
    probation_alarms: Sequence[cloudwatch.IAlarm] = ()
    shadow: ShadowTraffic | None = None
    retained_versions: int = 1

    def __post_init__(self) -> None:
        found = [p for p in (*self._range_problems(), *self._combination_problems()) if p is not None]
        if found:
            raise ValidationError("InvalidRolloutChecks", found)

    @property
    def own_alarms(self) -> tuple[str, ...]:
        """What the alarms that a rollout makes for the new fleet watch, by the end of their names."""
        return (
            "errors",
            *(() if self.max_latency is None else ("latency",)),
            *(() if self.max_latency_ratio is None else ("ratio",)),
            *(f"metric-{number}" for number in range(1, len(self.metrics) + 1)),
            "abort",
        )

    def _range_problems(self) -> list[str | None]:
        minutes, days, millis = cdk.Duration.minutes, cdk.Duration.days, cdk.Duration.millis
        period = int(self.alarm_period.to_seconds(integral=False))
        return [
            check_range("min_invocations", self.min_invocations, minimum=0, maximum=1_000_000),
            check_range("max_error_count", self.max_error_count, minimum=0, maximum=1_000_000),
            check_duration(
                "max_latency",
                self.max_latency,
                minimum=millis(1),
                maximum=cdk.Duration.seconds(60),
                whole="milliseconds",
            ),
            check_range("max_latency_ratio", self.max_latency_ratio, minimum=1, maximum=100),
            check_range("synthetic_invocations", self.synthetic_invocations, minimum=1, maximum=600),
            check_duration("probation", self.probation, minimum=minutes(10), maximum=days(30)),
            check_range("retained_versions", self.retained_versions, minimum=1, maximum=10),
            None if period in _ALARM_PERIODS else f"alarm_period must be one to five whole minutes, got {period} s",
        ]

    def _combination_problems(self) -> list[str | None]:
        count, own = len(self.alarms) + len(self.own_alarms), ", ".join(self.own_alarms)
        return [
            None
            if count <= MAXIMUM_ALARMS
            else f"SageMaker watches at most {MAXIMUM_ALARMS} alarms, got {len(self.alarms)} and {len(self.own_alarms)} of the "
            f"new fleet ({own}); join some in a composite alarm",
            "synthetic_invocations are golden requests, got none; give golden, or leave synthetic_invocations out"
            if self.synthetic_invocations is not None and self.golden is None
            else None,
            f"probation_alarms watch during probation, got {len(self.probation_alarms)} and no probation; give probation"
            if self.probation_alarms and self.probation is None
            else None,
        ]
