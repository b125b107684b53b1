"""How traffic moves to a new model, declared once for every target."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_range
from mlops_runtime.contracts.rollout import RolloutSpec

if TYPE_CHECKING:
    from mlops_constructs.rollout.target import RolloutTarget

# Alarm periods that CloudWatch takes for metrics of AWS services, in seconds.
_ALARM_PERIODS = (60, 120, 180, 240, 300)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AutoRollbackConfig.html: ten, of which the rollout makes two
_MAXIMUM_ALARMS = 8


class RolloutKind(StrEnum):
    """Ways to move traffic."""

    ALL_AT_ONCE = "ALL_AT_ONCE"
    CANARY = "CANARY"
    LINEAR = "LINEAR"
    ROLLING = "ROLLING"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """How a new model takes over, what may stop it, and how much evidence a promotion needs. Made by its factories.

    Attributes:
        kind: How traffic moves.
        bake: How long alarms watch each step.
        maximum: Time within which the rollout must have ended.
        percent: Size of a step in percent: of instances on SageMaker, of requests on EKS.
        min_invocations: Calls that the new fleet must have served before it is promoted: no evidence is not success.
        alarms: Alarms that roll back, besides those on errors and latency of the new fleet.
        max_error_count: Errors of the new fleet in one alarm period that are still accepted.
        max_latency: 95th percentile of the new fleet's model latency that is still accepted.
        alarm_period: Period of the new fleet's alarms.

    Example:
        >>> import aws_cdk as cdk
        >>> RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10)).kind
        <RolloutKind.CANARY: 'CANARY'>
    """

    kind: RolloutKind
    bake: cdk.Duration
    maximum: cdk.Duration
    percent: int | None
    min_invocations: int
    alarms: tuple[cloudwatch.IAlarm, ...]
    max_error_count: int
    max_latency: cdk.Duration | None
    alarm_period: cdk.Duration

    def __post_init__(self) -> None:
        problems = [problem for problem in (*self._range_problems(), *self._timing_problems()) if problem is not None]
        if problems:
            raise ValidationError("InvalidRolloutPolicy", problems)

    @classmethod
    def all_at_once(
        cls,
        *,
        bake: cdk.Duration | None = None,
        maximum: cdk.Duration | None = None,
        min_invocations: int = 0,
        alarms: Sequence[cloudwatch.IAlarm] = (),
        max_error_count: int = 1,
        max_latency: cdk.Duration | None = None,
        alarm_period: cdk.Duration | None = None,
    ) -> "RolloutPolicy":
        """Move all traffic in one step to a complete new fleet.

        Args:
            bake: How long alarms watch the new fleet before the old one goes, at most an hour. Default: not at all.
            maximum: Time for the whole rollout. Default: an hour more than the bakes.
            min_invocations: Calls that the new fleet must have served to be promoted. Default: 0, none.
            alarms: Further alarms that roll back, at most 8. Default: only those on errors and latency of the new fleet.
            max_error_count: Errors in one period that are still accepted. Default: 1.
            max_latency: 95th percentile of model latency that rolls back. Default: latency is not watched.
            alarm_period: Period of the new fleet's alarms, one to five minutes. Default: one minute.

        Raises:
            ValidationError: With every setting that cannot work.

        Example:
            >>> RolloutPolicy.all_at_once().bake.to_seconds()
            0
        """
        return cls._make(
            kind=RolloutKind.ALL_AT_ONCE,
            percent=None,
            bake=bake,
            maximum=maximum,
            min_invocations=min_invocations,
            alarms=alarms,
            max_error_count=max_error_count,
            max_latency=max_latency,
            alarm_period=alarm_period,
        )

    @classmethod
    def canary(
        cls,
        *,
        percent: int,
        bake: cdk.Duration,
        maximum: cdk.Duration | None = None,
        min_invocations: int = 20,
        alarms: Sequence[cloudwatch.IAlarm] = (),
        max_error_count: int = 1,
        max_latency: cdk.Duration | None = None,
        alarm_period: cdk.Duration | None = None,
    ) -> "RolloutPolicy":
        """Move a share first, watch it, then move the rest and watch again.

        Args:
            percent: Size of the first step, 1 to 50 percent. On SageMaker a share of instances.
            bake: How long alarms watch each of the two steps, at most an hour.
            maximum: Time for the whole rollout. Default: an hour more than the bakes.
            min_invocations: Calls that the new fleet must have served to be promoted. Default: 20.
            alarms: Further alarms that roll back, at most 8. Default: only those on errors and latency of the new fleet.
            max_error_count: Errors in one period that are still accepted. Default: 1.
            max_latency: 95th percentile of model latency that rolls back. Default: latency is not watched.
            alarm_period: Period of the new fleet's alarms, one to five minutes. Default: one minute.

        Raises:
            ValidationError: With every setting that cannot work.

        Example:
            >>> import aws_cdk as cdk
            >>> RolloutPolicy.canary(percent=10, bake=cdk.Duration.minutes(5)).maximum.to_minutes()
            70
        """
        return cls._make(
            kind=RolloutKind.CANARY,
            percent=percent,
            bake=bake,
            maximum=maximum,
            min_invocations=min_invocations,
            alarms=alarms,
            max_error_count=max_error_count,
            max_latency=max_latency,
            alarm_period=alarm_period,
        )

    @classmethod
    def linear(
        cls,
        *,
        step_percent: int,
        bake: cdk.Duration,
        maximum: cdk.Duration | None = None,
        min_invocations: int = 20,
        alarms: Sequence[cloudwatch.IAlarm] = (),
        max_error_count: int = 1,
        max_latency: cdk.Duration | None = None,
        alarm_period: cdk.Duration | None = None,
    ) -> "RolloutPolicy":
        """Move traffic in equal steps, each watched. No target executes it yet; a construct refuses it by name.

        Args:
            step_percent: Size of each step, 10 to 50 percent.
            bake: How long alarms watch each step, at most an hour.
            maximum: Time for the whole rollout. Default: an hour more than the bakes.
            min_invocations: Calls that the new fleet must have served to be promoted. Default: 20.
            alarms: Further alarms that roll back, at most 8. Default: only those on errors and latency of the new fleet.
            max_error_count: Errors in one period that are still accepted. Default: 1.
            max_latency: 95th percentile of model latency that rolls back. Default: latency is not watched.
            alarm_period: Period of the new fleet's alarms, one to five minutes. Default: one minute.

        Raises:
            ValidationError: With every setting that cannot work.

        Example:
            >>> import aws_cdk as cdk
            >>> RolloutPolicy.linear(step_percent=25, bake=cdk.Duration.minutes(5)).steps
            4
        """
        return cls._make(
            kind=RolloutKind.LINEAR,
            percent=step_percent,
            bake=bake,
            maximum=maximum,
            min_invocations=min_invocations,
            alarms=alarms,
            max_error_count=max_error_count,
            max_latency=max_latency,
            alarm_period=alarm_period,
        )

    @classmethod
    def rolling(
        cls,
        *,
        batch_percent: int,
        bake: cdk.Duration,
        maximum: cdk.Duration | None = None,
        min_invocations: int = 20,
        alarms: Sequence[cloudwatch.IAlarm] = (),
        max_error_count: int = 1,
        max_latency: cdk.Duration | None = None,
        alarm_period: cdk.Duration | None = None,
    ) -> "RolloutPolicy":
        """Replace instances batch by batch, without a second fleet. No target executes it yet; refused by name.

        Args:
            batch_percent: Size of each batch, 5 to 50 percent.
            bake: How long alarms watch each batch, at most an hour.
            maximum: Time for the whole rollout. Default: an hour more than the bakes.
            min_invocations: Calls that the new fleet must have served to be promoted. Default: 20.
            alarms: Further alarms that roll back, at most 8. Default: only those on errors and latency of the new fleet.
            max_error_count: Errors in one period that are still accepted. Default: 1.
            max_latency: 95th percentile of model latency that rolls back. Default: latency is not watched.
            alarm_period: Period of the new fleet's alarms, one to five minutes. Default: one minute.

        Raises:
            ValidationError: With every setting that cannot work.

        Example:
            >>> import aws_cdk as cdk
            >>> RolloutPolicy.rolling(batch_percent=50, bake=cdk.Duration.minutes(5)).steps
            2
        """
        return cls._make(
            kind=RolloutKind.ROLLING,
            percent=batch_percent,
            bake=bake,
            maximum=maximum,
            min_invocations=min_invocations,
            alarms=alarms,
            max_error_count=max_error_count,
            max_latency=max_latency,
            alarm_period=alarm_period,
        )

    @property
    def steps(self) -> int:
        """Number of steps that are baked."""
        return _steps(self.kind, self.percent)

    def effective_percent(self, target: "RolloutTarget") -> float:
        """Return which share the first step really moves on a target: SageMaker moves whole instances.

        Example:
            >>> import aws_cdk as cdk
            >>> from mlops_constructs.rollout import SageMakerTarget
            >>> policy = RolloutPolicy.canary(percent=30, bake=cdk.Duration.minutes(5))
            >>> policy.effective_percent(SageMakerTarget(endpoint_name="demand-forecast", instance_count=4))
            25.0
        """
        return target.effective_percent(100 if self.percent is None else self.percent)

    def to_spec(self) -> RolloutSpec:
        """Return the policy as the serving spec carries it."""
        return RolloutSpec(
            kind=self.kind.value,
            bake=_seconds(self.bake),
            maximum=_seconds(self.maximum),
            percent=self.percent,
            min_invocations=self.min_invocations,
            alarms=tuple(alarm.alarm_name for alarm in self.alarms),
            max_error_count=self.max_error_count,
            max_latency_ms=None if self.max_latency is None else int(self.max_latency.to_milliseconds()),
            alarm_period=_seconds(self.alarm_period),
        )

    @classmethod
    def _make(
        cls,
        *,
        kind: RolloutKind,
        percent: int | None,
        bake: cdk.Duration | None,
        maximum: cdk.Duration | None,
        min_invocations: int,
        alarms: Sequence[cloudwatch.IAlarm],
        max_error_count: int,
        max_latency: cdk.Duration | None,
        alarm_period: cdk.Duration | None,
    ) -> "RolloutPolicy":
        bake = cdk.Duration.seconds(0) if bake is None else bake
        if maximum is None:
            maximum = cdk.Duration.seconds(3600 + _seconds(bake) * _steps(kind, percent))
        return cls(
            kind=kind,
            bake=bake,
            maximum=maximum,
            percent=percent,
            min_invocations=min_invocations,
            alarms=tuple(alarms),
            max_error_count=max_error_count,
            max_latency=max_latency,
            alarm_period=cdk.Duration.minutes(1) if alarm_period is None else alarm_period,
        )

    def _range_problems(self) -> list[str | None]:
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TrafficRoutingConfig.html
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html
        minutes, seconds = cdk.Duration.minutes, cdk.Duration.seconds
        smallest = {RolloutKind.LINEAR: 10, RolloutKind.ROLLING: 5}.get(self.kind, 1)
        names = {RolloutKind.LINEAR: "step_percent", RolloutKind.ROLLING: "batch_percent"}
        period = _seconds(self.alarm_period)
        return [
            check_range(names.get(self.kind, "percent"), self.percent, minimum=smallest, maximum=50),
            check_range("min_invocations", self.min_invocations, minimum=0, maximum=1_000_000),
            check_range("max_error_count", self.max_error_count, minimum=0, maximum=1_000_000),
            check_duration("bake", self.bake, minimum=seconds(0), maximum=minutes(60)),
            check_duration("max_latency", self.max_latency, minimum=cdk.Duration.millis(1), maximum=seconds(60)),
            check_duration("maximum", self.maximum, minimum=minutes(10), maximum=minutes(480)),
            None if period in _ALARM_PERIODS else f"alarm_period must be one to five whole minutes, got {period} s",
            None
            if len(self.alarms) <= _MAXIMUM_ALARMS
            else f"alarms must be at most {_MAXIMUM_ALARMS}, got {len(self.alarms)}; join some in a composite alarm",
        ]

    def _timing_problems(self) -> list[str | None]:
        bake, period = _seconds(self.bake), _seconds(self.alarm_period)
        watched = self.kind is not RolloutKind.ALL_AT_ONCE or self.alarms or self.min_invocations > 0 or bake > 0
        total = bake * self.steps
        return [
            f"bake must be at least one alarm period ({period} s), got {bake} s: it would end before an alarm can fire; "
            "lengthen bake or shorten alarm_period"
            if watched and bake < period
            else None,
            f"maximum must be longer than {self.steps} bakes ({total} s), got {_seconds(self.maximum)} s; lengthen maximum"
            if _seconds(self.maximum) <= total
            else None,
        ]


def _seconds(duration: cdk.Duration) -> int:
    return int(duration.to_seconds())


def _steps(kind: RolloutKind, percent: int | None) -> int:
    if kind is RolloutKind.ALL_AT_ONCE:
        return 1
    if kind is RolloutKind.CANARY:
        return 2
    return -(-100 // max(percent or 100, 1))
