"""Limits of capacities: each rule by name, with the value and the fix."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.rollout.world import SPEC

from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.serving import (
    AsynchronousSpec,
    CaptureSpec,
    GoldenSpec,
    ScalingSpec,
    ScheduledCapacitySpec,
    ServerlessSpec,
    ShadowSpec,
    VariantSpec,
)
from mlops_runtime.rollout.capacity_limits import MEMORY_SIZES, takes_key
from mlops_runtime.rollout.fleet_capacity import capacity_problems

ONCE = RolloutSpec(kind="ALL_AT_ONCE", bake=0, maximum=3600)
SHADOW = ShadowSpec(percent=50, bake=600)
COMPARED = GoldenSpec(uri="s3://b/golden.jsonl", sha256="0" * 64, max_deviation=0.5)
SERVERLESS = replace(
    SPEC,
    instance_type="",
    instance_count=0,
    subnets=(),
    security_groups=(),
    network_isolation=False,
    kms_key=None,
    capture=None,
    rollout=ONCE,
    serverless=ServerlessSpec(memory_mb=1024, max_concurrency=5),
)
ASYNCHRONOUS = replace(
    SPEC,
    capture=None,
    rollout=replace(SPEC.rollout, min_invocations=0),
    asynchronous=AsynchronousSpec(output="s3://b/out", failures="s3://b/failed"),
)
SCALING = ScalingSpec(minimum=2, maximum=6, target=500.0)
ARM = VariantSpec(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.25)
NIGHT = ScheduledCapacitySpec(name="night", schedule="cron(0 20 * * ? *)", minimum=1, maximum=1)


def found(spec: Any, **changes: Any) -> str:
    """Return all problems of a changed spec."""
    return "; ".join(capacity_problems(replace(spec, **changes)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capture": CaptureSpec(percent=1, destination="s3://b")}, "does not support capture; leave capture out"),
        ({"subnets": ("s",), "security_groups": ("g",)}, "does not support subnets and security_groups"),
        ({"network_isolation": True}, "does not support network_isolation; switch it off"),
        ({"kms_key": "key"}, "kms_key encrypts the volumes of instances"),
        ({"variants": (ARM,)}, "does not support further variants"),
        ({"asynchronous": ASYNCHRONOUS.asynchronous}, "does not support asynchronous inference"),
        ({"scaling": SCALING}, "scales by itself"),
        ({"instance_count": 1}, "has no instances"),
        ({"rollout": SPEC.rollout}, "deployment guardrails do not work for serverless endpoints, got rollout CANARY"),
        ({"rollout": replace(ONCE, kind="LINEAR", percent=20)}, "got rollout LINEAR"),
        ({"rollout": replace(ONCE, kind="ROLLING", percent=20)}, "got rollout ROLLING"),
        ({"rollout": replace(ONCE, bake=600)}, "bake of 600 s"),
        ({"rollout": replace(ONCE, min_invocations=20)}, "20 min_invocations"),
        ({"rollout": replace(ONCE, alarms=("a",))}, "rollback alarms are not watched"),
        ({"rollout": replace(ONCE, shadow=SHADOW)}, "does not support a shadow variant"),
        (
            {"serverless": ServerlessSpec(memory_mb=1500, max_concurrency=5)},
            "memory_mb must be one of 1024, .*got 1500",
        ),
        (
            {"serverless": ServerlessSpec(memory_mb=1024, max_concurrency=201)},
            "max_concurrency must be 1 to 200, got 201",
        ),
        (
            {"serverless": ServerlessSpec(memory_mb=1024, max_concurrency=5, provisioned_concurrency=6)},
            r"provisioned_concurrency must be 1 to max_concurrency \(5\), got 6",
        ),
    ],
)
def test_fails_when_a_serverless_endpoint_cannot_be_so(changes: dict[str, Any], message: str) -> None:
    """Each feature excluded by serverless inference is reported with the fix."""
    assert re.search(message, found(SERVERLESS, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"capture": CaptureSpec(percent=1, destination="s3://b")},
            "data capture is documented for real-time endpoints only",
        ),
        ({"rollout": replace(SPEC.rollout, shadow=SHADOW)}, "cannot have a shadow variant"),
        ({"rollout": SPEC.rollout}, "does not publish Invocations, so they cannot be evidence, got min_invocations 20"),
        ({"variants": (ARM,)}, "one queue"),
        ({"asynchronous": AsynchronousSpec(output="b", failures="s3://b")}, "output must be an S3 URI, got 'b'"),
        ({"scaling": SCALING}, "metric of an asynchronous endpoint must be BACKLOG_PER_INSTANCE"),
        ({"rollout": replace(ASYNCHRONOUS.rollout, golden=COMPARED)}, "leave synthetic and max_deviation out"),
        ({"rollout": replace(ASYNCHRONOUS.rollout, synthetic=5)}, "leave synthetic and max_deviation out"),
        (
            {"asynchronous": AsynchronousSpec(output="s3://b", failures="s3://b", max_concurrency=0)},
            "max_concurrency must be 1 to 1000, got 0",
        ),
    ],
)
def test_fails_when_an_asynchronous_endpoint_cannot_be_so(changes: dict[str, Any], message: str) -> None:
    """Features without effect or documentation are rejected by name."""
    assert message in found(ASYNCHRONOUS, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minimum": 0}, "minimum must be at least 1, got 0; only an asynchronous endpoint scales to zero"),
        ({"maximum": 1}, "maximum must be at least 1 and not below minimum (2), got 1"),
        ({"maximum": 1001}, "maximum must be at most 1000, got 1001"),
        ({"minimum": 3}, "instance_count must be within its scaling bounds (3 to 6), got 2"),
        ({"target": None}, "scaling must have a target or schedules"),
        ({"target": 0.0}, "target must be positive, got 0.0"),
        ({"metric": "BACKLOG_PER_INSTANCE"}, "a real-time endpoint must be INVOCATIONS_PER_INSTANCE"),
        ({"scale_in_cool_down": -1}, "scale_in_cool_down must be 0 to 86400 seconds, got -1"),
        (
            {"minimum": 1},
            "may scale to 1 instances, of which rollout.percent 50 is less than one; use bounds and schedules of at least 2",
        ),
        ({"schedules": (NIGHT,)}, "may scale to 1 instances"),
        ({"schedules": (NIGHT, NIGHT)}, "schedules must have different names, got 'night' 2 times"),
        ({"schedules": (replace(NIGHT, minimum=0),)}, "schedule 'night'.minimum must be at least 1, got 0"),
        ({"schedules": (replace(NIGHT, schedule="rate(1 day)"),)}, "got 'rate(1 day)'"),
        ({"schedules": (replace(NIGHT, schedule="cron(0 20 * * * *)"),)}, "with one '?'"),
        ({"schedules": (replace(NIGHT, schedule="cron(0 20 * *)"),)}, "with one '?'"),
        ({"schedules": (replace(NIGHT, name="a/b"),)}, "name must be 1 to 256 characters"),
        ({"schedules": (replace(NIGHT, timezone="Berlin time"),)}, "timezone must be an IANA name"),
    ],
)
def test_fails_when_it_cannot_scale_so(changes: dict[str, Any], message: str) -> None:
    """Bounds, target and schedules are checked before deployment."""
    assert message in found(SPEC, scaling=replace(SCALING, **changes))


def test_fails_when_burstable_instances_are_to_scale() -> None:
    """SageMaker does not scale t2 instances and reports no error."""
    assert "burstable instances cannot scale, got ml.t2.large" in found(
        SPEC, kms_key=None, instance_type="ml.t2.large", scaling=SCALING
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": (replace(ARM, name="AllTraffic"),)}, "different names, got 'AllTraffic' 2 times"),
        ({"variants": (replace(ARM, name="a_b"),)}, "letters, digits and hyphens"),
        ({"variants": (replace(ARM, weight=1.0),)}, "a share of the calls from 0 to below 1, got 1.0"),
        (
            {"variants": (replace(ARM, weight=0.5), replace(ARM, name="B", weight=0.5))},
            "must leave calls for 'AllTraffic'",
        ),
        (
            {"variants": tuple(replace(ARM, name=f"V{n}", weight=0.01) for n in range(10))},
            "at most 10 variants, got 11",
        ),
        ({"variants": (replace(ARM, instance_type="c7g.large"),)}, "variant 'Arm': instance_type must be like"),
        ({"variants": (replace(ARM, instance_count=0),)}, "variant 'Arm': instance_count must be at least 1, got 0"),
        ({"variants": (replace(ARM, instance_type="ml.m5d.large"),)}, "variant 'Arm': kms_key cannot be used"),
        ({"variants": (replace(ARM, instance_count=1),)}, "50 of 1 instances of variant 'Arm' is less than one; use 2"),
        ({"variants": (ARM,), "rollout": replace(SPEC.rollout, kind="ROLLING")}, "rolling rollouts are excluded"),
        ({"variants": (ARM,), "rollout": replace(SPEC.rollout, shadow=SHADOW)}, "needs exactly one production variant"),
        ({"instance_count": 1001}, "instance_count must be at most 1000, got 1001"),
    ],
)
def test_fails_when_variants_cannot_stand_together(changes: dict[str, Any], message: str) -> None:
    """Covers names, shares, instances and the rollout of several variants."""
    assert message in found(SPEC, **changes)


def test_fails_when_inferentia_is_to_have_guardrails() -> None:
    """SageMaker would silently fall back to all at once without a bake."""
    inf1 = {"kms_key": None, "instance_type": "ml.inf1.xlarge"}
    assert "ml.inf1.xlarge is excluded from deployment guardrails" in found(SPEC, **inf1)
    assert "cannot have a shadow variant" in found(SPEC, **inf1, rollout=replace(ONCE, shadow=SHADOW))
    assert found(SPEC, **inf1, rollout=ONCE) == ""


@pytest.mark.parametrize(
    ("kind", "is_taken"),
    [("ml.m5.large", True), ("ml.m5d.large", False), ("ml.g5.xlarge", False), ("ml.c7g.large", True)],
)
def test_a_key_is_taken_where_every_volume_takes_it(kind: str, is_taken: bool) -> None:
    """One fleet with local storage is enough to omit the key; serverless inference has no volumes."""
    assert takes_key(replace(SPEC, instance_type=kind)) is is_taken
    assert takes_key(replace(SPEC, variants=(replace(ARM, instance_type=kind),))) is is_taken
    assert not takes_key(SERVERLESS)


@given(st.integers(0, 8000), st.integers(-5, 300), st.one_of(st.none(), st.integers(-5, 300)))
def test_serverless_sizes_are_those_of_sagemaker(memory: int, concurrency: int, warm: int | None) -> None:
    """Agrees with the documented list of sizes and both ranges."""
    sizes = ServerlessSpec(memory_mb=memory, max_concurrency=concurrency, provisioned_concurrency=warm)
    good = memory in MEMORY_SIZES and 1 <= concurrency <= 200 and (warm is None or 1 <= warm <= concurrency)
    assert (found(SERVERLESS, serverless=sizes) == "") == good


@given(st.integers(-2, 10), st.integers(-2, 10), st.integers(1, 10), st.booleans())
def test_bounds_hold_the_count(minimum: int, maximum: int, count: int, is_asynchronous: bool) -> None:
    """Passes exactly the bounds that Application Auto Scaling accepts and that include the count."""
    base = replace(ASYNCHRONOUS if is_asynchronous else SPEC, rollout=ONCE)
    metric = "BACKLOG_PER_INSTANCE" if is_asynchronous else "INVOCATIONS_PER_INSTANCE"
    scaling = ScalingSpec(minimum=minimum, maximum=maximum, target=1.0, metric=metric)
    good = (0 if is_asynchronous else 1) <= minimum <= count <= maximum
    assert (found(base, instance_count=count, scaling=scaling) == "") == good
