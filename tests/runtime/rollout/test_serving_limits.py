"""Limits of a serving spec."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.rollout.world import SPEC

from mlops_runtime.contracts.serving import CaptureSpec, GoldenSpec, MetricRule, ShadowSpec
from mlops_runtime.rollout.serving_limits import SpecError, check_spec, steps, waits

RULE = MetricRule(namespace="Shop", metric="Refunds", threshold=5)


def test_accepts_a_spec_that_sagemaker_accepts() -> None:
    """The spec is returned unchanged."""
    assert check_spec(SPEC) is SPEC


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"endpoint": "demand_forecast"}, "endpoint must be letters, digits and hyphens"),
        ({"endpoint": "d" * 55}, "at most 54 characters"),
        ({"instance_type": "m5.large"}, "instance_type must be like ml.m5.large, got 'm5.large'"),
        ({"instance_type": "ml.g4dn.xlarge"}, "kms_key cannot be used with ml.g4dn.xlarge"),
        ({"instance_type": "ml.m5d.large"}, "kms_key cannot be used with ml.m5d.large"),
        ({"instance_count": 0}, "instance_count must be at least 1, got 0"),
        ({"execution_role": "role"}, "execution_role must be the ARN of a role"),
        ({"security_groups": ()}, "subnets and security_groups go together"),
        ({"capture": CaptureSpec(percent=0, destination="s3://b")}, "capture.percent must be 1 to 100, got 0"),
        ({"capture": CaptureSpec(percent=1, destination="b")}, "capture.destination must be an S3 URI"),
    ],
)
def test_fails_when_sagemaker_would_refuse_it(changes: dict[str, Any], message: str) -> None:
    """Each error has the value and the limit."""
    with pytest.raises(SpecError, match=message):
        check_spec(replace(SPEC, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"percent": 51}, "percent of CANARY must be 1 to 50, got 51"),
        ({"percent": None}, "percent of CANARY must be 1 to 50, got None"),
        ({"percent": 25}, "25 of 2 instances is less than one; use 4 instances"),
        ({"kind": "LINEAR", "percent": 5}, "percent of LINEAR must be 10 to 50, got 5"),
        ({"kind": "ALL_AT_ONCE"}, "percent has no meaning all at once, got 50"),
        ({"bake": 30}, "bake must be at least alarm_period"),
        ({"bake": 3601}, "bake must be 0 to 3600"),
        ({"maximum": 599}, "maximum must be 600 to 28800"),
        ({"maximum": 1200}, "maximum must exceed the 1200 seconds that it bakes in 2 steps, got 1200"),
        ({"alarm_period": 45}, "alarm_period must be 10, 30 or a multiple of 60"),
        (
            {"alarms": tuple("abcdefghi")},
            r"alarms must be at most 7 beside the new fleet's \(verdict, dead, abort\), got 9",
        ),
        ({"alarms": tuple("abcdefgh"), "max_latency_ms": 9}, "at most 6 beside"),
        ({"max_bake": 300}, "max_bake must be at least bake, which must not be 0, got 300 and 600 seconds"),
        ({"max_bake": 3601, "maximum": 28800}, "max_bake must be at most 3600 seconds on SageMaker, got 3601"),
        ({"max_bake": 1800, "maximum": 3600}, "rollout.maximum must exceed the 3600 seconds that it bakes in 2 steps"),
        ({"max_latency_ratio": 0.9}, "max_latency_ratio must be at least 1, got 0.9"),
        ({"metrics": (replace(RULE, statistic="median"),)}, "'Refunds': statistic must be Sum, .* got 'median'"),
        ({"metrics": (replace(RULE, threshold=float("nan")),)}, "'Refunds': threshold must be a finite number"),
        ({"metrics": (replace(RULE, namespace=""),)}, "'Refunds': namespace must be given"),
        ({"golden": GoldenSpec(uri="x", sha256="y")}, "golden must be an S3 URI with its SHA-256"),
        ({"synthetic": 5}, "synthetic must be 1 to 600 golden requests a minute, got 5 with golden None"),
        ({"shadow": ShadowSpec(percent=10, bake=60)}, "shadow must be 1 to 100 percent for 300 to 604800 seconds"),
        ({"probation": 60, "probation_alarms": ("a",)}, "probation must be 600 to 2592000 seconds, got 60"),
        ({"probation": 600}, "probation needs probation_alarms"),
        ({"keep": 11}, "keep must be 1 to 10 versions, got 11"),
        ({"max_latency_ms": 0}, "max_latency_ms must be positive"),
        ({"min_invocations": -1}, "must not be negative"),
    ],
)
def test_fails_when_a_rollout_would_not_do_what_it_says(changes: dict[str, Any], message: str) -> None:
    """Settings that AWS would ignore, or reject during a rollout, are rejected before."""
    with pytest.raises(SpecError, match=message):
        check_spec(replace(SPEC, rollout=replace(SPEC.rollout, **changes)))


def test_fails_when_one_instance_is_to_have_a_canary() -> None:
    """A single instance cannot be split."""
    with pytest.raises(SpecError, match="50 of 1 instances is less than one; use 2 instances"):
        check_spec(replace(SPEC, instance_count=1))


def test_fails_with_every_problem_at_once() -> None:
    """All problems are reported together."""
    with pytest.raises(SpecError) as error:
        check_spec(replace(SPEC, instance_count=0, execution_role="role", subnets=()))
    assert str(error.value).count(";") >= 2


def test_bakes_once_a_step() -> None:
    """A linear rollout of a quarter bakes four times, a canary twice, all at once once."""
    assert waits(replace(SPEC.rollout, kind="LINEAR", percent=25, bake=300), 4) == 1200
    assert waits(SPEC.rollout, 2) == 1200
    assert waits(replace(SPEC.rollout, kind="ALL_AT_ONCE", percent=None), 2) == 600


@given(st.sampled_from(["LINEAR", "ROLLING"]), st.integers(5, 50), st.integers(1, 200))
def test_steps_move_whole_instances(kind: str, percent: int, instances: int) -> None:
    """Each step moves its share in whole instances, at least one."""
    left, counted = instances, 0
    while left > 0:
        left -= max(1, instances * percent // 100)
        counted += 1
    assert steps(kind, percent, instances) == counted


def test_fails_when_a_rehearsal_would_have_too_long_a_name() -> None:
    """Its endpoint's name contains that of the endpoint and the execution."""
    golden = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="0" * 64)
    long = replace(SPEC, endpoint="d" * 48, rollout=replace(SPEC.rollout, golden=golden))
    with pytest.raises(SpecError, match="at most 47 characters if golden requests are sent"):
        check_spec(long)
