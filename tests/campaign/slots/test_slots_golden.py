"""A shift between slots with golden requests: before traffic, before the last shift, in its bake, before promotion."""

from datetime import datetime
from typing import Any

import pytest
from tests.campaign.account import OLD
from tests.campaign.machine import Fault
from tests.campaign.slots.world import machine_of, with_rollout

from mlops_runtime.contracts.serving import GoldenSpec

GOLDEN = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="7" * 64)
SPEC = with_rollout(golden=GOLDEN, bake=120)
MACHINE = machine_of(SPEC)
CALL = "lambda:invoke golden"


class Golden:
    """The function ``rollout_golden``: passes, except at the given time."""

    def __init__(self, world: Any, *, fails_at: int | None = None, note: str = "") -> None:
        self.world, self.fails_at, self.note = world, fails_at, note
        self.requests: list[tuple[str, str, str | None, int]] = []

    def __call__(self, event: dict[str, Any], _context: object) -> dict[str, Any]:
        """Return the result, and note the request and the share of the traffic."""
        share = self.world.account.weights[event["slot"]]
        self.requests.append((event["mode"], event["slot"], event.get("live_slot"), share))
        passed = len(self.requests) - 1 != self.fails_at
        return {"passed": passed, "reason": "1 of 1 golden requests failed", "calls": 6, "note": self.note}


def golden_of(world: Any, **options: Any) -> Golden:
    """Install the function in the account."""
    world.account.functions["golden"] = found = Golden(world, **options)
    return found


def test_a_slot_is_asked_before_traffic_and_again_while_it_serves(slots: Any) -> None:
    """Before traffic beside the live slot; then before the last shift, half-way through the last bake, and before promotion."""
    world = slots(SPEC)
    golden = golden_of(world, note="the live model fails 1 of 1 golden requests, so nothing was compared with it")
    result = world.run(machine=MACHINE)
    assert (result.outcome, world.broken(result)) == ("PROMOTED", [])
    assert golden.requests == [
        ("check", "green", "blue", 0),
        ("again", "green", None, 10),
        ("again", "green", None, 100),
        ("again", "green", None, 100),
    ]
    record = world.records(1)[0]
    assert "nothing was compared with it; golden requests passed again" in record.reason
    assert record.golden_sha256 is not None


@pytest.mark.parametrize(
    ("fails_at", "outcome", "moves"),
    [(0, "REFUSED", []), (1, "ROLLED_BACK", [10]), (2, "ROLLED_BACK", [10, 100]), (3, "ROLLED_BACK", [10, 100])],
)
def test_a_slot_that_does_not_pass_goes_back(slots: Any, fails_at: int, outcome: str, moves: list[int]) -> None:
    """A failure before traffic rejects the candidate; a later failure restores the weights."""
    world = slots(SPEC)
    golden_of(world, fails_at=fails_at)
    result = world.run(machine=MACHINE)
    assert (result.outcome, world.broken(result), world.serves()) == (outcome, [], OLD)
    assert [move["green"] for move in world.account.moves if move["green"]] == moves
    again = ", sent again" if fails_at else ""
    assert world.records(1)[0].reason == f"golden requests{again}: 1 of 1 golden requests failed"
    assert world.account.desired("green") == 0


def test_a_first_model_is_rehearsed_alone(slots: Any) -> None:
    """The first model has no live model to compare with; one that fails leaves nothing behind."""
    world = slots(SPEC, serves=False)
    golden = golden_of(world, fails_at=0)
    refused = world.run(machine=MACHINE)
    assert (refused.outcome, world.broken(refused)) == ("REFUSED", [])
    golden.fails_at = None
    result = world.run(machine=MACHINE)
    assert (result.outcome, world.broken(result)) == ("PROMOTED", [])
    assert golden.requests == [("check", "green", None, 0), ("check", "green", None, 0)]


def test_a_rollback_to_what_passed_is_not_rehearsed(slots: Any) -> None:
    """The chain shows that this very container passed, so that nothing delays the rollback."""
    world = slots(SPEC)
    golden_of(world)
    assert world.run(machine=MACHINE).outcome == "PROMOTED"
    golden = golden_of(world, fails_at=0)
    third = world.account.package(3)
    assert world.run(machine=MACHINE, model_package_arn=third).outcome == "REFUSED"
    golden.requests.clear()
    golden.fails_at = None
    assert world.run(machine=MACHINE, model_package_arn=third).outcome == "PROMOTED"
    golden.requests.clear()
    result = world.run(machine=MACHINE, reason="rollback")
    assert (result.outcome, world.broken(result), golden.requests) == ("PROMOTED", [], [])


@pytest.mark.parametrize(
    ("mode", "occurrence", "outcome"), [("check", 1, "FAILED"), ("again", 1, "ROLLED_BACK"), ("again", 2, "PROMOTED")]
)
def test_a_function_that_does_not_answer_promotes_nothing(slots: Any, mode: str, occurrence: int, outcome: str) -> None:
    """Without a result before traffic nothing is promoted, later the slot is rolled back; in the bake the last check decides."""
    world = slots(SPEC)
    golden_of(world)
    fault = Fault(f"{CALL} {mode}", "access denied", always=occurrence == 1, occurrence=occurrence)
    result = world.run(fault, machine=MACHINE)
    assert (result.outcome, result.faults_met > 0, world.broken(result)) == (outcome, True, [])
    assert world.serves() == OLD or outcome == "PROMOTED"
    if outcome != "PROMOTED":
        assert "golden requests could not be sent" in result.output["Cause"]


def test_what_is_compared_begins_after_the_rehearsal(slots: Any) -> None:
    """Rehearsal responses count in the slot's target group, so calls are compared from the next whole minute on."""
    world = slots(SPEC)
    golden_of(world)
    since: list[str] = []
    asks = world.account.functions["verdict"]

    def verdict(event: dict[str, Any], context: object) -> Any:
        if "share" not in event:
            since.append(event["since"])
        return asks(event, context)

    world.account.functions["verdict"] = verdict
    shifted: list[float] = []

    def hook(label: str) -> None:
        if label.endswith("modifyRule 100/0"):
            shifted.append(world.account.now)

    assert world.run(machine=MACHINE, hook=hook).outcome == "PROMOTED"
    (begun,) = set(since)
    assert datetime.fromisoformat(begun).timestamp() - shifted[0] == pytest.approx(60, abs=1)
