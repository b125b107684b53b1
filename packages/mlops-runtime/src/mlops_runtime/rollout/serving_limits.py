"""Validation of a serving spec against the limits of SageMaker and EKS, so that no rollout fails halfway."""

import math
import re
from collections.abc import Iterator

from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import CaptureSpec, MetricRule
from mlops_runtime.eks.slot_limits import serving_problems, spec_problems
from mlops_runtime.rollout.fleet_alarms import alarm_kinds
from mlops_runtime.rollout.fleet_capacity import capacity_problems

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html: 63 characters; nine are the suffix of configs
MAX_ENDPOINT_LENGTH = 54
# seven more are part of the name of a rehearsal's endpoint and config
MAX_REHEARSED_LENGTH = 47
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AutoRollbackConfig.html
MAX_ALARMS = 10
# maximum seconds that SageMaker waits between two steps, and before the old fleet is terminated
MAX_WAIT = 3600

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TrafficRoutingConfig.html and API_RollingUpdatePolicy.html
_PERCENT = {"CANARY": (1, 50), "LINEAR": (10, 50), "ROLLING": (5, 50)}
_STATISTIC = re.compile(r"Sum|Average|Minimum|Maximum|SampleCount|p\d{1,2}(\.\d{1,2})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class SpecError(ValueError):
    """A serving spec that SageMaker or EKS would reject or not apply as stated; the message lists every problem."""


def check_spec(spec: ServingSpec) -> ServingSpec:
    """Validate a spec and return it.

    Raises:
        SpecError: With every problem: the value got, the allowed values and the fix.
    """
    rollout, instances = spec.rollout, spec.instance_count
    if spec.eks is None:
        own = capacity_problems(spec)
    else:
        # traffic between slots moves in single percents
        own, instances = [*spec_problems(spec), *serving_problems(spec)], 100
    waiting = _rollout_problems(rollout, instances, is_sagemaker=spec.eks is None)
    problems = [*_spec_problems(spec), *own, *waiting]
    problems += [*_check_problems(rollout), *_afterwards_problems(rollout)]
    problems += [] if spec.capture is None else _capture_problems(spec.capture)
    if problems:
        raise SpecError(f"serving spec of {spec.endpoint!r}: " + "; ".join(problems))
    return spec


def _spec_problems(spec: ServingSpec) -> Iterator[str]:
    if not _NAME.fullmatch(spec.endpoint) or len(spec.endpoint) > MAX_ENDPOINT_LENGTH:
        yield (
            f"endpoint must be letters, digits and hyphens, at most {MAX_ENDPOINT_LENGTH} characters, got {spec.endpoint!r}"
        )
    if spec.rollout.golden is not None and len(spec.endpoint) > MAX_REHEARSED_LENGTH:
        yield (
            f"endpoint must be at most {MAX_REHEARSED_LENGTH} characters if golden requests are sent to its rehearsal, "
            f"got {len(spec.endpoint)}"
        )
    if not _NAME.fullmatch(spec.variant):
        yield f"variant must be letters, digits and hyphens, got {spec.variant!r}"
    if not _ROLE.fullmatch(spec.execution_role):
        yield f"execution_role must be the ARN of a role, got {spec.execution_role!r}"
    if bool(spec.subnets) != bool(spec.security_groups):
        yield (
            f"subnets and security_groups go together, got {len(spec.subnets)} subnets and {len(spec.security_groups)} groups"
        )


def _capture_problems(capture: CaptureSpec) -> Iterator[str]:
    if not 1 <= capture.percent <= 100:
        yield f"capture.percent must be 1 to 100, got {capture.percent}; leave capture out to capture nothing"
    if not capture.destination.startswith("s3://"):
        yield f"capture.destination must be an S3 URI, got {capture.destination!r}"


def _rollout_problems(rollout: RolloutSpec, instances: int, *, is_sagemaker: bool) -> Iterator[str]:
    if not 0 <= rollout.bake <= 3600:
        yield f"rollout.bake must be 0 to 3600 seconds, got {rollout.bake}"
    if not 600 <= rollout.maximum <= 28800:
        yield f"rollout.maximum must be 600 to 28800 seconds, got {rollout.maximum}"
    yield from _longest_problems(rollout, is_sagemaker=is_sagemaker)
    if waits(rollout, instances) >= rollout.maximum:
        yield (
            f"rollout.maximum must exceed the {waits(rollout, instances)} seconds that it bakes in "
            f"{steps(rollout.kind, rollout.percent, instances)} steps, got {rollout.maximum}"
        )
    if rollout.kind != "ALL_AT_ONCE" and rollout.bake < rollout.alarm_period:
        yield (
            f"rollout.bake must be at least alarm_period ({rollout.alarm_period} seconds), got {rollout.bake}: "
            "it would end before an alarm can fire"
        )
    if rollout.alarm_period not in (10, 30) and (rollout.alarm_period < 60 or rollout.alarm_period % 60):
        yield f"rollout.alarm_period must be 10, 30 or a multiple of 60 seconds, got {rollout.alarm_period}"
    if rollout.kind in _PERCENT:
        yield from _percent_problems(rollout, instances)
    elif rollout.percent is not None:
        yield f"rollout.percent has no meaning all at once, got {rollout.percent}; leave it out"


def _longest_problems(rollout: RolloutSpec, *, is_sagemaker: bool) -> Iterator[str]:
    most = rollout.max_bake
    if most is None:
        return
    if most < rollout.bake or not rollout.bake:
        yield f"rollout.max_bake must be at least bake, which must not be 0, got {most} and {rollout.bake} seconds"
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TrafficRoutingConfig.html
    if is_sagemaker and most > MAX_WAIT:
        yield f"rollout.max_bake must be at most {MAX_WAIT} seconds on SageMaker, got {most}"


def _percent_problems(rollout: RolloutSpec, instances: int) -> Iterator[str]:
    low, high = _PERCENT[rollout.kind]
    if rollout.percent is None or not low <= rollout.percent <= high:
        yield f"rollout.percent of {rollout.kind} must be {low} to {high}, got {rollout.percent}"
    elif instances * rollout.percent < 100:
        needed = math.ceil(100 / rollout.percent)
        yield (
            f"rollout.percent {rollout.percent} of {instances} instances is less than one; "
            f"use {needed} instances, or a larger percent (with one instance only ALL_AT_ONCE works)"
        )


def _check_problems(rollout: RolloutSpec) -> Iterator[str]:
    own = alarm_kinds(rollout)
    if len(rollout.alarms) + len(own) > MAX_ALARMS:
        yield (
            f"rollout.alarms must be at most {MAX_ALARMS - len(own)} beside the new fleet's ({', '.join(own)}), "
            f"got {len(rollout.alarms)}; combine them in a composite alarm"
        )
    if rollout.min_invocations < 0 or (rollout.max_error_count or 0) < 0:
        yield "rollout.min_invocations and max_error_count must not be negative"
    if rollout.max_latency_ms is not None and rollout.max_latency_ms <= 0:
        yield f"rollout.max_latency_ms must be positive, got {rollout.max_latency_ms}"
    if rollout.max_latency_ratio is not None and rollout.max_latency_ratio < 1:
        yield f"rollout.max_latency_ratio must be at least 1, got {rollout.max_latency_ratio}"
    for rule in rollout.metrics or ():
        yield from _metric_problems(rule)
    golden, synthetic = rollout.golden, rollout.synthetic
    if golden is not None and not (golden.uri.startswith("s3://") and _SHA256.fullmatch(golden.sha256)):
        yield f"rollout.golden must be an S3 URI with its SHA-256, got {golden.uri!r} and {golden.sha256!r}"
    if synthetic is not None and (golden is None or not 1 <= synthetic <= 600):
        yield f"rollout.synthetic must be 1 to 600 golden requests a minute, got {synthetic} with golden {golden}"
    shadow = rollout.shadow
    if shadow is not None and not (1 <= shadow.percent <= 100 and 300 <= shadow.bake <= 604800):
        yield (
            f"rollout.shadow must be 1 to 100 percent for 300 to 604800 seconds, got {shadow.percent} for {shadow.bake}"
        )


def _metric_problems(rule: MetricRule) -> Iterator[str]:
    name = f"rollout.metrics {rule.metric!r}"
    if not _STATISTIC.fullmatch(rule.statistic):
        yield f"{name}: statistic must be Sum, Average, Minimum, Maximum, SampleCount or p0 to p99.99, got {rule.statistic!r}"
    if not math.isfinite(rule.threshold):
        yield f"{name}: threshold must be a finite number, got {rule.threshold}"
    if not rule.namespace or rule.namespace.startswith(":"):
        yield f"{name}: namespace must be given and not start with a colon, got {rule.namespace!r}"


def _afterwards_problems(rollout: RolloutSpec) -> Iterator[str]:
    if rollout.probation is not None and not 600 <= rollout.probation <= 2592000:
        yield f"rollout.probation must be 600 to 2592000 seconds, got {rollout.probation}"
    if rollout.probation is not None and not rollout.probation_alarms:
        yield "rollout.probation needs probation_alarms: nothing would roll the model back"
    if rollout.keep is not None and not 1 <= rollout.keep <= 10:
        yield f"rollout.keep must be 1 to 10 versions, got {rollout.keep}"


def steps(kind: str, percent: int | None, instances: int) -> int:
    """Return the number of steps that bake: whole instances move, so a step of 30 % of five is one instance.

    Example:
        >>> steps("LINEAR", 30, 5), steps("CANARY", 30, 5)
        (5, 2)
    """
    if kind == "ALL_AT_ONCE":
        return 1
    if kind == "CANARY":
        return 2
    size = max(1, instances * max(1, 100 if percent is None else percent) // 100)
    return math.ceil(max(1, instances) / size)


def step_shares(kind: str, percent: int | None, instances: int) -> tuple[float, ...]:
    """Return the new fleet's share of the calls after each step; the last is 1.

    Example:
        >>> step_shares("CANARY", 30, 5), step_shares("LINEAR", 50, 5), step_shares("ALL_AT_ONCE", None, 5)
        ((0.2, 1.0), (0.4, 0.8, 1.0), (1.0,))
    """
    if kind == "ALL_AT_ONCE":
        return (1.0,)
    size = max(1, instances * (percent or 100) // 100)
    number = steps(kind, percent, instances)
    return (*(min(1.0, step * size / max(1, instances)) for step in range(1, number)), 1.0)


def longest_bake(rollout: RolloutSpec) -> int:
    """Return the longest bake of a step, in seconds."""
    return rollout.bake if rollout.max_bake is None else rollout.max_bake


def waits(rollout: RolloutSpec, instances: int) -> int:
    """Return the longest total bake of a rollout, in seconds: one bake for each step."""
    return longest_bake(rollout) * steps(rollout.kind, rollout.percent, instances)
