"""``RolloutPolicy``: how traffic moves to a new model on any target, and the interface of targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs._arguments import checked
from mlops_constructs._state_machine import State
from mlops_constructs._validation import ValidationError, check_duration, check_range
from mlops_constructs.rollout.rollout_checks import RolloutChecks
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.rollout.serving_limits import steps

_MIN_INVOCATIONS = 20

# states of the Deploy machine in which a target's steps end, after setting $reason
PROMOTED = "Promoted"
ROLLED_BACK = "RolledBack"
TURNED_DOWN = "TurnedDown"
FAILED = "Failed"

# time to start and stop instances beyond the maximum execution time of a rollout
POLL_GRACE_SECONDS = 900


class RolloutKind(StrEnum):
    """Kinds of traffic shifting."""

    ALL_AT_ONCE = "ALL_AT_ONCE"
    CANARY = "CANARY"
    LINEAR = "LINEAR"
    ROLLING = "ROLLING"


# minimum step in percent and name of the argument by kind; only the instances limit a canary's step:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TrafficRoutingConfig.html and API_RollingUpdatePolicy.html
_STEP = {
    RolloutKind.ALL_AT_ONCE: (1, "percent"),
    RolloutKind.CANARY: (1, "percent"),
    RolloutKind.LINEAR: (10, "step_percent"),
    RolloutKind.ROLLING: (5, "batch_percent"),
}


class RolloutTarget(Protocol):
    """Target of a rollout, such as SageMaker endpoints or slots on EKS: renders the steps of the Deploy machine."""

    @property
    def name(self) -> str:
        """Name for error messages and descriptions."""
        ...

    @property
    def kinds(self) -> frozenset[RolloutKind]:
        """Kinds of rollout that the target supports."""
        ...

    @property
    def is_reset_by_stack(self) -> bool:
        """Whether deploying the stack may reset the live version, which a run must then check."""
        ...

    @property
    def functions(self) -> tuple[str, ...]:
        """ARNs of the functions that the target's steps invoke."""
        ...

    def effective_percent(self, percent: int) -> float:
        """Return the share in percent that a step of ``percent`` moves in effect."""
        ...

    def problems(self, policy: "RolloutPolicy") -> list[str]:
        """Return why the target does not support a policy."""
        ...

    def lead_seconds(self, rollout: RolloutSpec) -> int:
        """Return the maximum duration, in seconds, of the states before the first step."""
        ...

    def busy(self, *, next_state: str) -> tuple[str, dict[str, State]]:
        """Return the name of the first state and the states that run before waiting for a busy endpoint.

        They complete steps of an execution that died; none of them can fail.
        """
        ...

    def steps(
        self,
        *,
        rollout: RolloutSpec,
        golden_arn: str | None,
        verdict_arn: str,
        answers_arn: str | None = None,
    ) -> tuple[str, dict[str, State]]:
        """Return the name of the first state and the states from the plan to one of the exits, which need ``$reason``.

        They set ``$orphan`` to false while the new version may be in use, and ``$applied`` to true once the endpoint was changed.
        """
        ...

    def unrecorded(self, *, next_state: str) -> tuple[str, dict[str, State]]:
        """Return the name of the first state and the states that follow a failed record; none of them can fail.

        They roll back a version that is live without a record, before the next execution.
        """
        ...

    def clean_up(self, *, next_state: str) -> tuple[str, dict[str, State]]:
        """Return the name of the first state and the states that delete unused versions; none of them can fail."""
        ...


@checked("InvalidRolloutPolicy")
@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """How traffic moves to a new model, and the checks that it must pass. Use one of the factory methods.

    Attributes:
        kind: Kind of traffic shifting.
        bake: Bake time of each step, during which alarms are watched.
        max_execution_time: Maximum duration of the rollout.
        percent: Size of a step in percent: of instances on SageMaker, of requests on EKS.
        max_bake: Maximum bake time of a step with few calls; ``None`` for ``bake``.
        checks: Alarms, evidence and probation of the rollout.

    Example:
        >>> import aws_cdk as cdk
        >>> RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10)).kind
        <RolloutKind.CANARY: 'CANARY'>
    """

    kind: RolloutKind
    bake: cdk.Duration
    max_execution_time: cdk.Duration
    percent: int | None
    checks: RolloutChecks
    max_bake: cdk.Duration | None = None

    def __post_init__(self) -> None:
        problems = [problem for problem in (*self._range_problems(), *self._timing_problems()) if problem is not None]
        if problems:
            raise ValidationError("InvalidRolloutPolicy", problems)

    @classmethod
    def all_at_once(
        cls,
        *,
        bake: cdk.Duration | None = None,
        max_bake: cdk.Duration | None = None,
        max_execution_time: cdk.Duration | None = None,
        checks: RolloutChecks | None = None,
    ) -> "RolloutPolicy":
        """Move all traffic to a complete new fleet in one step.

        Args:
            bake: Bake time before the old fleet is removed, at most an hour. Default: none.
            max_bake: Maximum bake time with too few calls to detect an error share one percentage point higher: on SageMaker at
                most an hour, planned before the rollout; on EKS until it can be detected. Default: ``bake``.
            max_execution_time: Maximum duration of the rollout. Default: an hour more than the longest bake.
            checks: Checks of the rollout. Default: alarms on the new fleet's errors, no minimum of calls.

        Raises:
            ValidationError: If settings are out of range or conflict; lists every problem.

        Example:
            >>> RolloutPolicy.all_at_once().bake.to_seconds()
            0
        """
        bake = cdk.Duration.seconds(0) if bake is None else bake
        return cls._make(
            RolloutKind.ALL_AT_ONCE, bake=bake, max_bake=max_bake, max_execution_time=max_execution_time, checks=checks
        )

    @classmethod
    def canary(
        cls,
        *,
        percent: int,
        bake: cdk.Duration,
        max_bake: cdk.Duration | None = None,
        max_execution_time: cdk.Duration | None = None,
        checks: RolloutChecks | None = None,
    ) -> "RolloutPolicy":
        """Move a share of the traffic, bake, then move the rest and bake again.

        Args:
            percent: Size of the first step, 1 to 50 percent. On SageMaker a share of instances.
            bake: Bake time of each of the two steps, at most an hour; the rollout takes at least twice as long.
            max_bake: Maximum bake time with too few calls to detect an error share one percentage point higher: on SageMaker at
                most an hour, planned before the rollout; on EKS until it can be detected. Default: ``bake``.
            max_execution_time: Maximum duration of the rollout. Default: an hour more than the longest bakes.
            checks: Checks of the rollout. Default: alarms on the new fleet's errors, at least 20 calls.

        Raises:
            ValidationError: If settings are out of range or conflict; lists every problem.

        Example:
            >>> import aws_cdk as cdk
            >>> RolloutPolicy.canary(percent=10, bake=cdk.Duration.minutes(5)).max_execution_time.to_minutes()
            70
        """
        return cls._make(
            RolloutKind.CANARY,
            percent=percent,
            bake=bake,
            max_bake=max_bake,
            max_execution_time=max_execution_time,
            checks=checks,
        )

    @classmethod
    def linear(
        cls,
        *,
        step_percent: int,
        bake: cdk.Duration,
        max_bake: cdk.Duration | None = None,
        max_execution_time: cdk.Duration | None = None,
        checks: RolloutChecks | None = None,
    ) -> "RolloutPolicy":
        """Move traffic to a complete new fleet in equal steps, each with a bake.

        Args:
            step_percent: Size of each step, 10 to 50 percent. On SageMaker a share of instances.
            bake: Bake time of each step, at most an hour.
            max_bake: Maximum bake time with too few calls to detect an error share one percentage point higher: on SageMaker at
                most an hour, planned before the rollout; on EKS until it can be detected. Default: ``bake``.
            max_execution_time: Maximum duration of the rollout. Default: an hour more than the longest bakes.
            checks: Checks of the rollout. Default: alarms on the new fleet's errors, at least 20 calls.

        Raises:
            ValidationError: If settings are out of range or conflict; lists every problem.

        Example:
            >>> import aws_cdk as cdk
            >>> RolloutPolicy.linear(step_percent=25, bake=cdk.Duration.minutes(5)).steps
            4
        """
        return cls._make(
            RolloutKind.LINEAR,
            percent=step_percent,
            bake=bake,
            max_bake=max_bake,
            max_execution_time=max_execution_time,
            checks=checks,
        )

    @classmethod
    def rolling(
        cls,
        *,
        batch_percent: int,
        bake: cdk.Duration,
        max_bake: cdk.Duration | None = None,
        max_execution_time: cdk.Duration | None = None,
        checks: RolloutChecks | None = None,
    ) -> "RolloutPolicy":
        """Replace instances batch by batch, without a second fleet.

        Args:
            batch_percent: Size of each batch, 5 to 50 percent of the instances.
            bake: Bake time of each batch, at most an hour.
            max_bake: Maximum bake time with too few calls to detect an error share one percentage point higher: on SageMaker at
                most an hour, planned before the rollout; on EKS until it can be detected. Default: ``bake``.
            max_execution_time: Maximum duration of the rollout. Default: an hour more than the longest bakes.
            checks: Checks of the rollout. Default: alarms on the new fleet's errors, at least 20 calls.

        Raises:
            ValidationError: If settings are out of range or conflict; lists every problem.

        Example:
            >>> import aws_cdk as cdk
            >>> RolloutPolicy.rolling(batch_percent=50, bake=cdk.Duration.minutes(5)).steps
            2
        """
        return cls._make(
            RolloutKind.ROLLING,
            percent=batch_percent,
            bake=bake,
            max_bake=max_bake,
            max_execution_time=max_execution_time,
            checks=checks,
        )

    @property
    def steps(self) -> int:
        """Number of steps with a bake; targets that move whole instances may need more."""
        return steps(self.kind.value, self.percent, 100)

    @property
    def longest_bake(self) -> int:
        """Maximum bake time of a step in seconds."""
        return _seconds(self.bake if self.max_bake is None else self.max_bake)

    @property
    def alarms(self) -> Sequence[cloudwatch.IAlarm]:
        """Alarms that roll back, in addition to those of the new fleet."""
        return self.checks.alarms

    @property
    def min_invocations(self) -> int:
        """Number of calls that the new fleet must serve before its promotion."""
        if self.checks.min_invocations is not None:
            return self.checks.min_invocations
        return 0 if self.kind is RolloutKind.ALL_AT_ONCE else _MIN_INVOCATIONS

    def effective_percent(self, target: RolloutTarget) -> float:
        """Return the share in percent that the first step moves on a target in effect: SageMaker moves whole instances.

        Example:
            >>> import aws_cdk as cdk
            >>> from mlops_constructs.rollout import SageMakerTarget
            >>> policy = RolloutPolicy.canary(percent=30, bake=cdk.Duration.minutes(5))
            >>> policy.effective_percent(SageMakerTarget(endpoint_name="demand-forecast", instance_count=4))
            25.0
        """
        return target.effective_percent(100 if self.percent is None else self.percent)

    def to_spec(self) -> RolloutSpec:
        """Convert to the form stored in the serving spec; ``Rollout`` adds the golden set and the endpoint's own alarms."""
        checks = self.checks
        return RolloutSpec(
            kind=self.kind.value,
            bake=_seconds(self.bake),
            maximum=_seconds(self.max_execution_time),
            percent=self.percent,
            min_invocations=self.min_invocations,
            alarms=tuple(alarm.alarm_name for alarm in checks.alarms),
            max_error_count=checks.max_error_count,
            tolerated_error_share=checks.tolerated_error_share,
            false_alarm=checks.false_alarm,
            alarm_period=_seconds(checks.alarm_period),
            max_latency_ms=None if checks.max_latency is None else int(checks.max_latency.to_milliseconds()),
            max_latency_ratio=checks.max_latency_ratio,
            metrics=tuple(checks.metrics) if checks.metrics else None,
            synthetic=checks.synthetic_invocations,
            shadow=None if checks.shadow is None else checks.shadow.to_spec(),
            probation=None if checks.probation is None else _seconds(checks.probation),
            probation_alarms=tuple(alarm.alarm_name for alarm in checks.probation_alarms) or None,
            keep=None if checks.retained_versions == 1 else checks.retained_versions,
            max_bake=None if self.max_bake is None else _seconds(self.max_bake),
        )

    @classmethod
    def _make(
        cls,
        kind: RolloutKind,
        *,
        bake: cdk.Duration,
        max_bake: cdk.Duration | None,
        max_execution_time: cdk.Duration | None,
        checks: RolloutChecks | None,
        percent: int | None = None,
    ) -> "RolloutPolicy":
        if max_execution_time is None:
            longest = _seconds(bake if max_bake is None else max_bake)
            max_execution_time = cdk.Duration.seconds(3600 + longest * steps(kind.value, percent, 100))
        return cls(
            kind=kind,
            bake=bake,
            max_bake=max_bake,
            max_execution_time=max_execution_time,
            percent=percent,
            checks=RolloutChecks() if checks is None else checks,
        )

    def _range_problems(self) -> list[str | None]:
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html
        minutes, seconds = cdk.Duration.minutes, cdk.Duration.seconds
        smallest, name = _STEP[self.kind]
        return [
            check_range(name, self.percent, minimum=smallest, maximum=50),
            check_duration("bake", self.bake, minimum=seconds(0), maximum=minutes(60)),
            check_duration("max_bake", self.max_bake, minimum=self.bake, maximum=minutes(480)),
            check_duration("max_execution_time", self.max_execution_time, minimum=minutes(10), maximum=minutes(480)),
        ]

    def _timing_problems(self) -> list[str | None]:
        bake, period = _seconds(self.bake), _seconds(self.checks.alarm_period)
        total = self.longest_bake * self.steps
        return [
            "max_bake extends a bake, got a bake of 0 s; give bake, or leave max_bake out"
            if self.max_bake is not None and bake == 0
            else None,
            f"bake must be at least one alarm period ({period} s), got {bake} s: it would end before an alarm can fire; "
            "lengthen bake or shorten alarm_period"
            if self._is_watched and bake < period
            else None,
            f"max_execution_time must be longer than {self.steps} bakes ({total} s), got {_seconds(self.max_execution_time)} s; "
            "lengthen it"
            if _seconds(self.max_execution_time) <= total
            else None,
        ]

    @property
    def _is_watched(self) -> bool:
        checks = self.checks
        requested = (
            checks.alarms,
            checks.metrics,
            checks.max_latency,
            checks.max_latency_ratio,
            checks.synthetic_invocations,
        )
        return (
            self.kind is not RolloutKind.ALL_AT_ONCE
            or any(requested)
            or self.min_invocations > 0
            or _seconds(self.bake) > 0
        )


def _seconds(duration: cdk.Duration) -> int:
    return int(duration.to_seconds(integral=False))
