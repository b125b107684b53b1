"""What a serving spec may say."""

from dataclasses import replace
from typing import Any

import pytest
from rollout_world import SPEC

from mlops_runtime.contracts.serving import CaptureSpec
from mlops_runtime.rollout.limits import SpecError, check_spec, waits


def test_accepts_a_spec_that_sagemaker_accepts() -> None:
    """The spec comes back as it was."""
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
    """Each limit names the value and what is allowed."""
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
        ({"maximum": 600}, "maximum must exceed the 600 seconds that it bakes"),
        ({"alarm_period": 45}, "alarm_period must be 10, 30 or a multiple of 60"),
        ({"alarms": tuple("abcdefghi")}, "alarms must be at most 8, got 9"),
        ({"max_latency_ms": 0}, "max_latency_ms must be positive"),
        ({"min_invocations": -1}, "must not be negative"),
    ],
)
def test_fails_when_a_rollout_would_not_do_what_it_says(changes: dict[str, Any], message: str) -> None:
    """What AWS would ignore or refuse in the middle of a rollout is said before."""
    with pytest.raises(SpecError, match=message):
        check_spec(replace(SPEC, rollout=replace(SPEC.rollout, **changes)))


def test_fails_when_one_instance_is_to_have_a_canary() -> None:
    """A slice of one instance does not exist."""
    with pytest.raises(SpecError, match="50 of 1 instances is less than one; use 2 instances"):
        check_spec(replace(SPEC, instance_count=1))


def test_fails_with_every_problem_at_once() -> None:
    """Nobody has to deploy three times to read three errors."""
    with pytest.raises(SpecError) as error:
        check_spec(replace(SPEC, instance_count=0, execution_role="role", subnets=()))
    assert str(error.value).count(";") >= 2


def test_bakes_once_a_step() -> None:
    """A linear rollout of a quarter bakes four times."""
    assert waits(replace(SPEC.rollout, kind="LINEAR", percent=25, bake=300)) == 1200
    assert waits(SPEC.rollout) == 600
