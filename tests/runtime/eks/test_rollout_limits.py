"""What slots cannot do is refused by name."""

import json
from dataclasses import replace
from typing import Any

import pytest
from eks_samples import SPEC, with_eks

from mlops_runtime.contracts.serving import (
    AsynchronousSpec,
    GoldenSpec,
    ScalingSpec,
    ServerlessSpec,
    ShadowSpec,
    VariantSpec,
)
from mlops_runtime.eks.rollout_limits import MAXIMUM_PODS, policy_problems, serving_problems
from mlops_runtime.rollout.serving_limits import SpecError, check_spec

GOLDEN = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="0" * 64)


def test_a_plain_service_is_fine() -> None:
    """One percent of the requests is possible: no instance is divided."""
    assert list(serving_problems(SPEC)) == []
    assert check_spec(SPEC) is SPEC
    one = replace(SPEC, rollout=replace(SPEC.rollout, percent=1))
    assert check_spec(one) is one


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "ROLLING"}, "got ROLLING: a slot is complete in itself"),
        ({"golden": GOLDEN}, "golden and synthetic requests are sent to a SageMaker endpoint"),
        ({"golden": GOLDEN, "synthetic": 10}, "leave golden and synthetic out"),
        ({"shadow": ShadowSpec(percent=10, bake=900)}, "no load balancer copies requests; leave shadow out"),
        ({"keep": 3}, "keep must be 1 on EKS, got 3"),
    ],
)
def test_a_policy_that_slots_cannot_execute_is_refused(change: dict[str, Any], said: str) -> None:
    """With what to do instead."""
    rollout = replace(SPEC.rollout, **change)
    (problem,) = policy_problems(rollout)
    assert said in problem
    with pytest.raises(SpecError) as caught:
        check_spec(replace(SPEC, rollout=rollout))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (replace(SPEC, serverless=ServerlessSpec(memory_mb=2048, max_concurrency=5)), "serverless is SageMaker's"),
        (
            replace(SPEC, asynchronous=AsynchronousSpec(output="s3://o", failures="s3://f")),
            "asynchronous is SageMaker's",
        ),
        (replace(SPEC, scaling=ScalingSpec(minimum=1, maximum=2)), "give eks.minimum, maximum and cpu_target"),
        (
            replace(SPEC, variants=(VariantSpec(name="B", instance_type="ml.m5.large", instance_count=1, weight=0.1),)),
            "define another service",
        ),
        (replace(SPEC, instance_type="ml.m5.large", instance_count=2), "got 'ml.m5.large' and 2"),
        (replace(SPEC, variant="Main"), "variant must be 'AllTraffic' on EKS, got 'Main'"),
        (with_eks(maximum=141), "at most 140 pods, got 141"),
    ],
)
def test_what_only_sagemaker_knows_is_refused(spec: Any, said: str) -> None:
    """It would be accepted and not done."""
    (problem,) = serving_problems(spec)
    assert said in problem
    with pytest.raises(SpecError) as caught:
        check_spec(spec)
    assert problem in str(caught.value)


def test_the_health_of_all_pods_is_a_payload_that_a_machine_carries() -> None:
    """Every member of a description at its longest.

    See: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealthDescription.html
    """
    longest = {
        "Target": {"Id": "100.123.123.123", "Port": 8080, "AvailabilityZone": "ap-southeast-2a"},
        "HealthCheckPort": "8080",
        "TargetHealth": {
            "State": "unhealthy",
            "Reason": "Target.FailedHealthChecks",
            "Description": "Health checks failed with these codes: [500]",
        },
        "AnomalyDetection": {"Result": "anomalous", "MitigationInEffect": "yes"},
        "AdministrativeOverride": {
            "State": "no_override",
            "Reason": "AdministrativeOverride.NoOverride",
            "Description": "No override is currently active on target",
        },
    }
    answer = json.dumps({"TargetHealthDescriptions": [longest] * MAXIMUM_PODS}, separators=(",", ":"))
    assert len(answer) <= 64 * 1024


def test_everything_is_said_at_once() -> None:
    """Also what the cluster would refuse."""
    bad = with_eks(minimum=0)
    bad = replace(bad, rollout=replace(bad.rollout, kind="ROLLING", keep=2))
    with pytest.raises(SpecError) as caught:
        check_spec(bad)
    assert all(part in str(caught.value) for part in ("eks.minimum", "ROLLING", "keep must be 1"))
