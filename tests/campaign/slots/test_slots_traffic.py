"""A shift between slots whose metrics are missing, late, or bad on both: old or approved serves, and the record says why."""

from typing import Any

import pytest
from tests.campaign.slots.world import machine_of, with_rollout
from tests.campaign.traffic import CASES, Traffic, check_end, steady


@pytest.mark.parametrize("case", CASES)
def test_a_shift_between_slots_ends_well(slots: Any, case: str) -> None:
    """On a cluster, where the machine itself puts the weights back."""
    traffic, outcome, why = CASES[case]
    spec = with_rollout(bake=300)
    world = slots(spec, traffic=traffic)
    traffic.account = world.account
    check_end(world, world.run(machine=machine_of(spec)), outcome, why)


@pytest.mark.parametrize("seconds", [3600.0, -600.0])
@pytest.mark.parametrize(("failed", "outcome"), [(0, "PROMOTED"), (60, "ROLLED_BACK")])
def test_a_clock_that_jumps_changes_no_verdict(slots: Any, seconds: float, failed: int, outcome: str) -> None:
    """An hour ahead in the bake, or ten minutes back: what was counted decides."""
    spec = with_rollout(bake=300)
    traffic = Traffic(new=steady(60, failed), old=steady(540))
    world = slots(spec, traffic=traffic)
    traffic.account = world.account
    seen: list[str] = []

    def hook(label: str) -> None:
        seen.append(label)
        if label == "lambda:invoke verdict" and seen.count(label) == 2:
            world.account.now += seconds

    check_end(world, world.run(machine=machine_of(spec), hook=hook), outcome, "answers failed against")


@pytest.mark.parametrize(
    ("failed", "outcome", "why"),
    [
        (300, "PROMOTED", "; not watched, as in ALARM before: refunds; "),
        (3, "REFUSED", "already in ALARM: refunds; they would end any deployment at once"),
    ],
)
def test_an_alarm_that_a_failing_live_model_keeps_in_alarm_refuses_no_successor(
    slots: Any, failed: int, outcome: str, why: str
) -> None:
    """It is not watched, and the record says so; of one that works it refuses, with the ways out."""
    spec = with_rollout(alarms=("refunds",), bake=300)
    traffic = Traffic(new=steady(60), old=steady(540, failed))
    world = slots(spec, traffic=traffic, rings="refunds", rings_at=0)
    traffic.account = world.account
    result = world.run(machine=machine_of(spec))
    assert world.broken(result) == []
    assert (result.outcome, why in world.records(1)[0].reason) == (outcome, True)
