"""States that send golden requests to a slot: their payload, and machines without them."""

from typing import Any

import pytest

from mlops_constructs.eks_inference.eks_target import EksTarget
from mlops_constructs.eks_inference.slot_golden import SINCE, SlotGolden
from mlops_runtime.contracts.rollout import RolloutSpec

ARN = "arn:aws:lambda:us-east-1:123456789012:function"
GOLDEN = SlotGolden(f"{ARN}:golden", "demand-forecast", "aws")


def sent(state: Any) -> dict[str, Any]:
    """Return the payload of a state."""
    return dict(state["Arguments"]["Payload"])


def test_the_candidate_is_checked_beside_the_live_slot() -> None:
    """Uses the service's name, under which captures of both slots are stored."""
    payload = sent(GOLDEN.check(next_state="Next", catch="Caught"))
    assert (payload["mode"], payload["endpoint"]) == ("check", "demand-forecast")
    assert (payload["slot"], payload["live_slot"]) == ("{% $plan.rehearsal.slot %}", "{% $plan.rehearsal.live_slot %}")
    assert {"golden", "answers", "now", "execution"} < set(payload)


def test_it_is_asked_again_without_the_live_slot() -> None:
    """Failed requests count as passed until the promotion decides."""
    state = GOLDEN.again(next_state="Next", catch="Caught")
    assert sent(state)["slot"] == "{% $plan.again.slot %}"
    assert "live_slot" not in sent(state)
    assert "'passed': true" in state["Catch"][0]["Assign"]["again"]


@pytest.mark.parametrize(("golden", "more"), [(None, False), (GOLDEN.golden_arn, True)])
def test_a_service_without_golden_requests_has_no_state_for_them(golden: str | None, more: bool) -> None:
    """Compares calls from the first step on."""
    target = EksTarget(endpoint_name="demand-forecast", slot_arn=f"{ARN}:slot")
    rollout = RolloutSpec(kind="CANARY", bake=600, maximum=3600, percent=10)
    _, states = target.steps(rollout=rollout, golden_arn=golden, verdict_arn=f"{ARN}:verdict", partition="aws")
    assert ("CheckGolden" in states, "AskAgain" in states, "NotGolden" in states) == (more, more, more)
    assert (states["AssertWeights"]["Assign"]["since"] == SINCE) is more
