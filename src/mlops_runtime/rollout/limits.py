"""What SageMaker allows of a serving spec, so that nothing is found out in the middle of a rollout."""

import math
import re
from collections.abc import Iterator

from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import CaptureSpec
from mlops_runtime.rollout.capacity import capacity_problems

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html: 63 characters; nine are the suffix of configs
MAX_ENDPOINT_LENGTH = 54
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AutoRollbackConfig.html: 10; two are the new fleet's
MAX_ALARMS = 8

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TrafficRoutingConfig.html and API_RollingUpdatePolicy.html
_PERCENT = {"CANARY": (1, 50), "LINEAR": (10, 50), "ROLLING": (5, 50)}


class SpecError(ValueError):
    """A serving spec that SageMaker would refuse, or would not do as it says; the message lists every problem."""


def check_spec(spec: ServingSpec) -> ServingSpec:
    """Return the spec if an endpoint can be served by it.

    Raises:
        SpecError: With every problem: value got, what is allowed, the fix.
    """
    problems = [*_spec_problems(spec), *capacity_problems(spec), *_rollout_problems(spec.rollout, spec.instance_count)]
    problems += [] if spec.capture is None else _capture_problems(spec.capture)
    if problems:
        raise SpecError(f"serving spec of {spec.endpoint!r}: " + "; ".join(problems))
    return spec


def _spec_problems(spec: ServingSpec) -> Iterator[str]:
    if not _NAME.fullmatch(spec.endpoint) or len(spec.endpoint) > MAX_ENDPOINT_LENGTH:
        yield (
            f"endpoint must be letters, digits and hyphens, at most {MAX_ENDPOINT_LENGTH} characters, got {spec.endpoint!r}"
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


def _rollout_problems(rollout: RolloutSpec, instances: int) -> Iterator[str]:
    if not 0 <= rollout.bake <= 3600:
        yield f"rollout.bake must be 0 to 3600 seconds, got {rollout.bake}"
    if not 600 <= rollout.maximum <= 28800:
        yield f"rollout.maximum must be 600 to 28800 seconds, got {rollout.maximum}"
    if waits(rollout) >= rollout.maximum:
        yield f"rollout.maximum must exceed the {waits(rollout)} seconds that it bakes, got {rollout.maximum}"
    if len(rollout.alarms) > MAX_ALARMS:
        yield f"rollout.alarms must be at most {MAX_ALARMS}, got {len(rollout.alarms)}; combine them in a composite alarm"
    if rollout.kind != "ALL_AT_ONCE" and rollout.bake < rollout.alarm_period:
        yield (
            f"rollout.bake must be at least alarm_period ({rollout.alarm_period} seconds), got {rollout.bake}: "
            "it would end before an alarm can ring"
        )
    if rollout.min_invocations < 0 or rollout.max_error_count < 0:
        yield "rollout.min_invocations and max_error_count must not be negative"
    if rollout.alarm_period not in (10, 30) and (rollout.alarm_period < 60 or rollout.alarm_period % 60):
        yield f"rollout.alarm_period must be 10, 30 or a multiple of 60 seconds, got {rollout.alarm_period}"
    if rollout.max_latency_ms is not None and rollout.max_latency_ms <= 0:
        yield f"rollout.max_latency_ms must be positive, got {rollout.max_latency_ms}"
    if rollout.kind in _PERCENT:
        yield from _percent_problems(rollout, instances)
    elif rollout.percent is not None:
        yield f"rollout.percent has no meaning all at once, got {rollout.percent}; leave it out"


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


def waits(rollout: RolloutSpec) -> int:
    """Return the seconds that a rollout bakes in all: once a step."""
    stepped = rollout.kind in ("LINEAR", "ROLLING") and rollout.percent is not None and rollout.percent > 0
    steps = math.ceil(100 / (rollout.percent or 100)) if stepped else 1
    return rollout.bake * steps
