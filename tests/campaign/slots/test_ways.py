"""Rollback, abort, probation, a rule reset by the stack, and the longest rollout."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from tests.campaign.account import OLD
from tests.campaign.machine import Fault
from tests.campaign.slots.world import machine_of, with_rollout

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.eks.live_slots import all_to

MAXIMUM_PAYLOAD, MAXIMUM_HISTORY = 64 * 1024, 25_000
LABEL = "cloudwatch:describeAlarms"


def package_of(world: Any) -> str:
    """Return the package that serves, by the cluster and by the record, which must agree."""
    (slot,) = [slot for slot, weight in world.account.weights.items() if weight == 100]
    annotations = world.account.deployment(slot)["metadata"]["annotations"]
    live = from_json(LivePointer, world.row().live)
    assert (live.config, live.model_package_arn) == (world.serves(), annotations["mlops.constructs/package"])
    return str(annotations["mlops.constructs/package"])


def when(world: Any, label: str, occurrence: int, act: Callable[[], None]) -> Callable[[str], None]:
    """Return a hook that acts once, before the n-th call of a label."""
    seen = []

    def hook(called: str) -> None:
        seen.append(called)
        if called == label and seen.count(label) == occurrence:
            act()

    return hook


@pytest.mark.parametrize(
    ("rollout", "moves"),
    [
        ({"kind": "ALL_AT_ONCE", "percent": None, "bake": 0}, [0, 100]),
        ({"kind": "CANARY", "percent": 1}, [0, 1, 100]),
        ({"kind": "LINEAR", "percent": 30}, [0, 30, 60, 90, 100]),
    ],
)
def test_each_kind_moves_what_it_says(slots: Any, rollout: dict[str, Any], moves: list[int]) -> None:
    """The candidate's share per kind, starting from the weights that are first asserted to be complete."""
    spec = with_rollout(**rollout)
    world = slots(spec)
    result = world.run(machine=machine_of(spec))
    assert world.broken(result) == []
    assert [move["green"] for move in world.account.moves] == moves


def test_a_rollback_goes_to_the_model_before_and_no_further(slots: Any) -> None:
    """The rollback is immediate, to the idle slot; a second one finds no target, because it would lead back to the bad model."""
    world = slots()
    assert world.run().outcome == "PROMOTED"
    assert package_of(world) == world.challenger
    world.account.moves.clear()
    result = world.run(reason="rollback")
    assert (result.outcome, world.broken(result)) == ("PROMOTED", [])
    assert package_of(world) == world.champion
    assert [move["blue"] for move in world.account.moves] == [0, 100]
    again = world.run(reason="rollback")
    assert (again.outcome, world.broken(again)) == ("REFUSED", [])
    assert package_of(world) == world.champion


def test_a_rollback_finds_the_model_before_though_its_slot_was_taken(slots: Any) -> None:
    """The slot was taken by a third model, which failed."""
    world = slots()
    assert world.run().outcome == "PROMOTED"
    world.account.fires, world.account.live_slot = "-dead", "green"
    third = world.account.package(3)
    assert world.run(model_package_arn=third).outcome == "ROLLED_BACK"
    assert world.account.deployment("blue")["metadata"]["annotations"]["mlops.constructs/package"] == third
    result = world.run(reason="rollback")
    assert (result.outcome, world.broken(result)) == ("PROMOTED", [])
    assert package_of(world) == world.champion


def test_a_rollback_goes_to_the_model_that_is_named(slots: Any) -> None:
    """``mlops rollback --to`` accepts any approved package that was promoted, also one that is in no slot."""
    world = slots()
    third = world.account.package(3)
    world.promote(third)
    result = world.run(reason="rollback", model_package_arn=third)
    assert (result.outcome, world.broken(result)) == ("PROMOTED", [])
    assert package_of(world) == third
    never_promoted = world.account.package(4)
    assert world.run(reason="rollback", model_package_arn=never_promoted).outcome == "REFUSED"
    rejected = world.account.package(5, approval="Rejected")
    world.promote(rejected)
    assert world.run(reason="rollback", model_package_arn=rejected).outcome == "REFUSED"
    assert package_of(world) == third


def test_a_rollback_leaves_a_live_slot_that_is_ill(slots: Any) -> None:
    """The live slot's health is not checked, because an unhealthy slot must not block the rollback."""
    world = slots(live_pods=0)
    world.promote(world.challenger)
    result = world.run(reason="rollback", model_package_arn=world.challenger)
    assert (result.outcome, world.broken(result)) == ("PROMOTED", [])
    assert package_of(world) == world.challenger


@pytest.mark.parametrize("occurrence", [1, 4, 9])
def test_an_abort_takes_a_rollout_back_in_every_phase(slots: Any, occurrence: int) -> None:
    """A person sets the alarm while the pods start, at the first step, or at the last."""
    world = slots()

    def abort() -> None:
        world.account.fires, world.account.fires_at = "-abort", 0

    result = world.run(hook=when(world, LABEL, occurrence, abort))
    assert (result.outcome, world.broken(result)) == ("ROLLED_BACK", [])
    assert result.output["Cause"].startswith("in ALARM: demand-forecast-rollout-")
    assert world.serves() == OLD


@pytest.mark.parametrize(("late", "outcome"), [(120 + 150, "PROMOTED"), (120 + 300, "ROLLED_BACK")])
def test_requests_that_are_told_late_are_waited_for_a_while(slots: Any, late: float, outcome: str) -> None:
    """A load balancer reports a minute some minutes later; the machine waits three after the bake and still checks alarms."""
    world = slots(told_after=late)
    result = world.run()
    assert (result.outcome, world.broken(result)) == (outcome, [])
    fires = slots(told_after=late)

    def fire() -> None:
        fires.account.fires = "-dead"

    assert fires.run(hook=when(fires, "lambda:invoke verdict", 9, fire)).outcome == "ROLLED_BACK"


@pytest.mark.parametrize(
    ("kind", "moves"), [("CANARY", [0, 10, 0]), ("LINEAR", [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 0])]
)
def test_a_candidate_that_nobody_asked_never_gets_all(slots: Any, kind: str, moves: list[int]) -> None:
    """Evidence is required before the last shift: afterwards it would come too late."""
    spec = with_rollout(kind=kind)
    world = slots(spec, asked_from=100)
    result = world.run(machine=machine_of(spec))
    assert (result.outcome, world.broken(result)) == ("ROLLED_BACK", [])
    assert result.output["Cause"] == "slot green answered 0 requests, a promotion needs 20"
    assert [move["green"] for move in world.account.moves] == moves


def test_a_candidate_without_evidence_is_watched_until_it_goes_back(slots: Any) -> None:
    """An alarm of the unit that fires during the wait for requests is the recorded reason."""
    world = slots(asked_from=100)

    def fire() -> None:
        world.account.fires = "-dead"

    result = world.run(hook=when(world, "lambda:invoke verdict", 9, fire))
    assert (result.outcome, world.broken(result)) == ("ROLLED_BACK", [])
    assert result.output["Cause"].startswith("in ALARM: ")
    assert world.account.moves[-1] == all_to("blue")


def test_a_slot_that_was_overwritten_meanwhile_gets_no_traffic(slots: Any) -> None:
    """A call of a stopped execution came after the candidate was found ready: the slot does not have the planned model."""
    world = slots()

    def overwrite() -> None:
        world.account.deployment("green")["metadata"]["annotations"]["mlops.constructs/config"] = "of-another"

    result = world.run(hook=when(world, "elasticloadbalancingv2:describeTargetHealth", 2, overwrite))
    assert (result.outcome, world.broken(result)) == ("ROLLED_BACK", [])
    assert "the slot runs of-another, not demand-forecast-" in result.output["Cause"]
    assert {move["green"] for move in world.account.moves} == {0}


def test_a_promotion_that_cannot_be_recorded_is_taken_back(slots: Any) -> None:
    """No promotion without a record: the old model serves at once, and the candidate after another approval."""
    world = slots()
    result = world.run(Fault("lambda:invoke record", "access denied", always=True))
    assert (result.outcome, world.serves(), world.row().owner) == ("FAILED", OLD, None)
    assert result.output["Cause"].startswith("PROMOTED could not be recorded: ")
    assert result.output["Cause"].endswith(". Slot blue receives all traffic again")
    assert [move["green"] for move in world.account.moves] == [0, 10, 100, 0]
    after = world.run()
    assert (after.outcome, world.broken(after)) == ("PROMOTED", [])
    assert package_of(world) == world.challenger


def test_a_promotion_whose_record_nobody_heard_of_comes_back(slots: Any) -> None:
    """The record was written and each response lost: the record counts, so the next execution shifts the traffic again."""
    world = slots()
    result = world.run(Fault("lambda:invoke record", "timeout", always=True, after=True))
    assert (result.outcome, world.serves()) == ("FAILED", OLD)
    after = world.run(reason="spec")
    assert (after.outcome, world.broken(after)) == ("UNCHANGED", [])
    assert package_of(world) == world.challenger


def test_a_promotion_that_can_neither_be_recorded_nor_taken_back_says_both(slots: Any) -> None:
    """The next execution rolls it back, as after one that died."""
    world = slots()
    faults = (
        Fault("lambda:invoke record", "access denied", always=True),
        Fault("elasticloadbalancingv2:modifyRule 100/0", "access denied", always=True, occurrence=2),
    )
    result = world.run(*faults)
    assert (result.outcome, world.account.weights) == ("FAILED", all_to("green"))
    assert world.broken(result, excused=frozenset(fault.label for fault in faults)) == []
    assert "PROMOTED could not be recorded: " in result.output["Cause"]
    assert ". The weights could not be restored: " in result.output["Cause"]
    after = world.run(reason="spec")
    assert (after.outcome, world.broken(after), world.serves()) == ("UNCHANGED", [], OLD)


@pytest.mark.parametrize(("changes", "request_"), [({"live_pods": 0}, {"reason": "rollback"}), ({"serves": False}, {})])
def test_what_has_nothing_better_to_go_back_to_stays_without_a_record(
    slots: Any, changes: dict[str, Any], request_: dict[str, str]
) -> None:
    """The bad model of a rollback must not return, and a first model has no predecessor."""
    world = slots(**changes)
    world.promote(world.challenger)
    result = world.run(
        Fault("lambda:invoke record", "access denied", always=True), model_package_arn=world.challenger, **request_
    )
    assert (result.outcome, world.account.weights) == ("FAILED", all_to("green"))


def test_a_probation_takes_a_model_back(slots: Any) -> None:
    """The alarm fires hours after the promotion; its request is verified."""
    spec = with_rollout(probation=86_400, probation_alarms=("refunds",))
    world = slots(spec)
    world.account.alarms["refunds"] = {"AlarmName": "refunds"}
    assert world.run().outcome == "PROMOTED"
    assert world.run(reason="rollback", alarm="refunds").outcome == "UNCHANGED"
    world.account.fires = "refunds"
    result = world.run(reason="rollback", alarm="refunds")
    assert (result.outcome, world.broken(result)) == ("PROMOTED", [])
    assert package_of(world) == world.champion


def test_a_rule_that_the_stack_reset_is_put_right(slots: Any) -> None:
    """CloudFormation gave all traffic to blue, which is idle since green was promoted."""
    world = slots()
    assert world.run().outcome == "PROMOTED"
    serves = world.serves()
    world.account.weights = all_to("blue")
    result = world.run(reason="spec")
    assert result.outcome == "UNCHANGED"
    assert world.serves() == serves
    assert package_of(world) == world.challenger


def test_a_rule_that_changes_while_a_slot_starts_is_put_right_before_it_gets_traffic(slots: Any) -> None:
    """The weights are asserted before the first step, whatever their value by then."""
    world = slots()
    result = world.run(hook=when(world, LABEL, 2, lambda: world.account.weights.update(all_to("green"))))
    assert (result.outcome, world.broken(result)[1:]) == ("PROMOTED", [])
    assert world.account.moves[0] == all_to("blue")


@pytest.mark.parametrize("label", ["100/0", "90/10", "0/100"])
def test_throttled_weights_are_written_in_the_end(slots: Any, label: str) -> None:
    """Three attempts are throttled, the fourth succeeds."""
    name = f"elasticloadbalancingv2:modifyRule {label}"
    world = slots()
    result = world.run(*(Fault(name, "throttle", occurrence=number) for number in (1, 2, 3)))
    assert (result.outcome, result.faults_met, world.broken(result)) == ("PROMOTED", 3, [])


def test_weights_that_cannot_be_put_back_stay_for_the_next_execution(slots: Any) -> None:
    """The candidate has all the traffic and its alarm fires: the old pods stay, and get all traffic back later."""
    world = slots(fires="-dead", fires_at=100)
    fault = Fault("elasticloadbalancingv2:modifyRule 100/0", "access denied", always=True, occurrence=2)
    result = world.run(fault)
    assert (result.outcome, world.account.weights) == ("FAILED", all_to("green"))
    assert "the weights could not be restored" in result.output["Cause"]
    assert world.account.desired("blue") == 2
    assert from_json(LivePointer, world.row().live).config == OLD
    after = world.run(reason="spec")
    assert (after.outcome, world.broken(after)) == ("UNCHANGED", [])
    assert world.serves() == OLD


def test_payload_and_history_stay_small_in_the_longest_rollout(slots: Any) -> None:
    """Seven steps of an hour, each call failing twice before it succeeds.

    See: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    """
    spec = with_rollout(kind="LINEAR", percent=15, bake=3600, maximum=28_800)
    world = slots(spec)
    result = world.run(machine=machine_of(spec))
    assert result.outcome == "PROMOTED"
    assert result.largest <= MAXIMUM_PAYLOAD
    # a retried attempt adds three events, and a poll at most twenty
    assert 3 * result.events < MAXIMUM_HISTORY


def test_weights_that_nobody_can_take_back_are_waited_for_and_said(slots: Any) -> None:
    """An execution died at the first step, and the load balancer rejects the next executions until later."""
    start = "elasticloadbalancingv2:modifyRule 100/0"
    world = slots()
    world.run(Fault("elasticloadbalancingv2:modifyRule 90/10", "crash", after=True))
    world.account.now += 86_400
    result = world.run(Fault(start, "5xx", always=True), reason="spec")
    assert (result.outcome, world.broken(result, excused=frozenset({start}))) == ("REFUSED", [])
    assert result.output["Cause"].startswith(
        "the rule forwards blue 90 %, green 10 %, but all traffic belongs to blue with "
    )
    after = world.run(reason="spec")
    assert (after.outcome, world.broken(after)) == ("UNCHANGED", [])
    assert world.serves() == OLD


@pytest.mark.parametrize(
    ("expected", "steps"),
    [
        ({}, (600, 120)),
        ({"action": "enough"}, (120, 120)),
        ({"action": "enough", "evidence": 5.0}, (120, 600)),
        ({"calls": 3}, (600,)),
    ],
)
def test_a_step_bakes_on_while_it_is_undecided(slots: Any, expected: dict[str, Any], steps: tuple[int, ...]) -> None:
    """The bake lasts until evidence is good; after the last step also while evidence is bad or calls lack; at most max_bake."""
    spec = with_rollout(bake=120, max_bake=600)
    world = slots(spec)
    asks, moved = world.account.functions["verdict"], list[float]()
    world.account.functions["verdict"] = lambda event, context: asks(event, context) | expected

    def hook(label: str) -> None:
        if "modifyRule" in label:
            moved.append(world.account.now)
        if label.startswith("lambda:invoke record"):
            moved.append(world.account.now)

    result = world.run(machine=machine_of(spec), hook=hook)
    assert world.broken(result) == []
    assert result.outcome == ("PROMOTED" if expected != {"calls": 3} else "ROLLED_BACK")
    baked = [int(after - before) for before, after in pairwise(moved[1:])]
    assert all(want <= got < want + 240 for want, got in zip(steps, baked, strict=False)), baked
    recorded = world.records(1)[0].verdict
    assert recorded.planned == "bakes 2 minutes a step, and up to 10 while the comparison is undecided"
