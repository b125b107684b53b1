"""What two slots make of a policy."""

from typing import Any

import aws_cdk as cdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_constructs import GoldenRequests, RolloutChecks, RolloutPolicy, ShadowTraffic
from mlops_constructs.eks_inference import EksTarget
from mlops_constructs.eks_inference.steps import START_SECONDS
from mlops_constructs.rollout import RolloutKind, RolloutTarget

BAKE = cdk.Duration.minutes(5)
SLOT = "arn:aws:lambda:us-east-1:123456789012:function:slot"
TARGET = EksTarget(endpoint_name="demand-forecast", slot_arn=SLOT)


def test_it_is_a_target() -> None:
    """By name, and with the function that its states ask."""
    target: RolloutTarget = TARGET
    assert (target.name, target.functions) == ("EKS", (SLOT,))
    assert target.kinds == {RolloutKind.ALL_AT_ONCE, RolloutKind.CANARY, RolloutKind.LINEAR}


@given(st.integers(1, 50))
def test_a_canary_is_a_share_of_the_requests(percent: int) -> None:
    """Exactly the one asked for: no instance is divided."""
    policy = RolloutPolicy.canary(percent=percent, bake=BAKE)
    assert policy.effective_percent(TARGET) == percent
    assert TARGET.problems(policy) == []


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (RolloutPolicy.rolling(batch_percent=20, bake=BAKE), "got ROLLING: a slot is complete in itself"),
        (
            RolloutPolicy.canary(
                percent=10, bake=BAKE, checks=RolloutChecks(shadow=ShadowTraffic(percent=10, bake=BAKE))
            ),
            "no load balancer copies requests; leave shadow out",
        ),
        (
            RolloutPolicy.canary(percent=10, bake=BAKE, checks=RolloutChecks(retained_versions=2)),
            "keep must be 1 on EKS, got 2",
        ),
    ],
)
def test_refuses_by_name_what_slots_cannot(policy: RolloutPolicy, said: str) -> None:
    """With what to do instead."""
    (problem,) = TARGET.problems(policy)
    assert said in problem


@pytest.mark.parametrize("synthetic", [None, 10])
def test_refuses_golden_requests(tmp_path: Any, synthetic: int | None) -> None:
    """They are sent to an endpoint of SageMaker's; said once."""
    path = tmp_path / "golden.jsonl"
    path.write_text('{"name": "typical", "body": "1\\n", "rows": 1, "content_type": "text/csv"}\n')
    checks = RolloutChecks(golden=GoldenRequests.from_file(path), synthetic_invocations=synthetic)
    (problem,) = TARGET.problems(RolloutPolicy.canary(percent=10, bake=BAKE, checks=checks))
    assert problem.startswith("golden and synthetic requests are sent to a SageMaker endpoint")


def test_the_lock_outlives_the_start_of_the_pods() -> None:
    """What comes before the first step is only that."""
    assert TARGET.lead_seconds(RolloutPolicy.canary(percent=10, bake=BAKE).to_spec()) == START_SECONDS


def test_what_cannot_be_recorded_is_put_back() -> None:
    """The weights, by the states between the failed record and what follows it."""
    first, states = TARGET.unrecorded(next_state="Unlock", partition="aws")
    assert first in states
    assert states["PutBackUnrecorded"]["Resource"].endswith(":modifyRule")
