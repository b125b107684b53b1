"""A shift between slots with metrics that are missing, late, or bad on both: the record says which model serves and why."""

from typing import Any

import pytest
from tests.campaign.machine import Fault
from tests.campaign.slots.world import machine_of, with_rollout
from tests.campaign.traffic import CASES, FAILED_OF, JUMPS, Traffic, at_second_verdict, check_end, steady


@pytest.mark.parametrize("case", CASES)
def test_a_shift_between_slots_ends_well(slots: Any, case: str) -> None:
    """On a cluster the machine itself restores the weights."""
    traffic, outcome, why = CASES[case]
    spec = with_rollout(bake=300)
    world = slots(spec, traffic=traffic)
    traffic.account = world.account
    check_end(world, world.run(machine=machine_of(spec)), outcome, why)


def _between_slots(slots: Any, failed: int) -> tuple[Any, Any]:
    """A service whose candidate fails some of sixty calls a minute, and its machine."""
    spec = with_rollout(bake=300)
    traffic = Traffic(new=steady(60, failed), old=steady(540))
    world = slots(spec, traffic=traffic)
    traffic.account = world.account
    return world, machine_of(spec)


@pytest.mark.parametrize("seconds", JUMPS)
@pytest.mark.parametrize(("failed", "outcome"), FAILED_OF)
def test_a_clock_that_jumps_changes_no_verdict(slots: Any, seconds: float, failed: int, outcome: str) -> None:
    """An hour ahead in the bake, or ten minutes back: the counted calls decide."""
    world, machine = _between_slots(slots, failed)

    def jump() -> None:
        world.account.now += seconds

    check_end(world, world.run(machine=machine, hook=at_second_verdict(jump)), outcome, "answers failed against")


@pytest.mark.parametrize(("failed", "outcome"), FAILED_OF)
def test_alarms_that_are_deleted_by_hand_change_no_verdict(slots: Any, failed: int, outcome: str) -> None:
    """The machine uses the function's verdict, which needs no alarm."""
    world, machine = _between_slots(slots, failed)
    hook = at_second_verdict(world.account.alarms.clear)
    check_end(world, world.run(machine=machine, hook=hook), outcome, "answers failed against")
    (record,) = world.records(world.executions)
    # the first verdict stops a model that fails every call, before the deletion
    assert ("; deleted meanwhile, so no longer watched: " in record.reason) is (outcome == "PROMOTED")


@pytest.mark.parametrize("failed", [0, 60])
def test_a_function_that_fails_promotes_nothing(slots: Any, failed: int) -> None:
    """Calls are unknown: the weights are restored, and the record names the failed function."""
    world, machine = _between_slots(slots, failed)
    fault = Fault("lambda:invoke verdict", "access denied", always=True)
    check_end(world, world.run(fault, machine=machine), "ROLLED_BACK", "alarms or requests could not be read: ")


@pytest.mark.parametrize(
    ("failed", "outcome", "why"),
    [
        (300, "PROMOTED", "; not watched because already in ALARM: refunds; "),
        (3, "REFUSED", "already in ALARM: refunds; they would end any deployment at once"),
    ],
)
def test_an_alarm_that_a_failing_live_model_keeps_in_alarm_refuses_no_successor(
    slots: Any, failed: int, outcome: str, why: str
) -> None:
    """An alarm of a failing live model is not watched, and the record says so; that of a working model refuses, with the fixes."""
    spec = with_rollout(alarms=("refunds",), bake=300)
    traffic = Traffic(new=steady(60), old=steady(540, failed))
    world = slots(spec, traffic=traffic, fires="refunds", fires_at=0)
    traffic.account = world.account
    result = world.run(machine=machine_of(spec))
    assert world.broken(result) == []
    assert (result.outcome, why in world.records(1)[0].reason) == (outcome, True)
