"""The Deploy machine between two slots: each way that a rollout may go, every fault of every call, a crash between any two."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.campaign.machine import KINDS, LOST, Fault
from tests.campaign.slots.world import OLD

SCENARIOS: dict[str, tuple[dict[str, Any], str]] = {
    "promotes": ({}, "PROMOTED"),
    "is rolled back by an alarm of the first step": ({"rings": "-dead"}, "ROLLED_BACK"),
    "is rolled back by an alarm of the last step": ({"rings": "green-5xx", "rings_at": 100}, "ROLLED_BACK"),
    "gets no traffic": ({"invocations": 3}, "ROLLED_BACK"),
    "never gets ready": ({"pods": "never"}, "ROLLED_BACK"),
    "is too slow": ({"pods": "slow"}, "ROLLED_BACK"),
    "is unhealthy to the load balancer": ({"targets": False}, "ROLLED_BACK"),
    "meets a live slot without pods": ({"live_pods": 0}, "ROLLED_BACK"),
    "is the first model": ({"serves": False}, "PROMOTED"),
    "is a first model that never gets ready": ({"serves": False, "pods": "never"}, "FAILED"),
}
FIRST = "promotes"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ends_well_without_a_fault(slots: Callable[..., Any], scenario: str) -> None:
    """Each way that a rollout may go."""
    changes, outcome = SCENARIOS[scenario]
    world = slots(**changes)
    result = world.run()
    assert world.broken(result) == []
    assert result.outcome == outcome
    assert world.ended() == []


def _broken_by(slots: Callable[..., Any], scenario: str, fault: Fault) -> list[str]:
    """Return what does not hold after an execution that meets a fault, and after the one that follows it."""
    changes, _ = SCENARIOS[scenario]
    world = slots(**changes)
    result = world.run(fault)
    assert result.faults_met > 0
    excused = frozenset({fault.label}) if fault.always and fault.kind != "latency" else frozenset[str]()
    broken = [f"{fault}: {problem}" for problem in world.broken(result, excused=excused)]
    if excused:
        # what could not be done then, the next execution does
        world.account.now += 86_400
        world.restore_schedule()
        broken += [f"{fault}, next: {problem}" for problem in world.broken(world.run())]
    return broken + [f"{fault}: {problem}" for problem in world.ended()]


def _faults(labels: list[str], kind: str) -> list[Fault]:
    """Return the ways in which each call can meet a kind: once or for good, before or after its work is done."""
    return [
        Fault(label, kind, always=always, after=after)
        for label in labels
        # for good, all errors are alike to the machine: two kinds say so
        for always in ((False, True) if kind in ("5xx", "access denied") else (False,))
        for after in ((False, True) if kind in LOST else (False,))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_some_fault_of_each_call_leaves_no_mess(slots: Callable[..., Any], kind: str) -> None:
    """Each call of a promotion meets one of the kinds; the campaign lets each meet all of them in every way."""
    labels = list(dict.fromkeys(slots().run().labels))
    mine = labels[KINDS.index(kind) :: len(KINDS)]
    faults = [Fault(label, kind, always=kind == "access denied", after=kind in LOST) for label in mine]
    assert [problem for fault in faults for problem in _broken_by(slots, FIRST, fault)] == []


@pytest.mark.campaign
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_fault_of_any_call_leaves_a_mess(slots: Callable[..., Any], scenario: str, kind: str) -> None:
    """Each call fails once or for good, before or after its work is done."""
    labels = list(dict.fromkeys(slots(**SCENARIOS[scenario][0]).run().labels))
    assert [p for fault in _faults(labels, kind) for p in _broken_by(slots, scenario, fault)] == []


def _broken_after_crash(slots: Callable[..., Any], scenario: str, fault: Fault, reason: str) -> list[str]:
    """Return what does not hold once an execution has died and the next one has come to its end."""
    world = slots(**SCENARIOS[scenario][0])
    crashed = world.run(fault)
    broken = [f"{fault}, at once: {p}" for p in world.broken(crashed) if "orphan" not in p]
    before = world.serves()
    world.account.now += 86_400
    result = world.run(reason=reason)
    broken += [f"{fault}, then {reason}: {problem}" for problem in world.broken(result)]
    if reason == "spec" and before is None and world.account.serves:
        # what was shifting was taken back, and nothing else came of it
        broken += [] if world.serves() == OLD else [f"{fault}, then {reason}: {world.serves()} serves"]
    return broken + [f"{fault}, then {reason}: {problem}" for problem in world.ended()]


def _crashes(labels: list[str]) -> list[Fault]:
    """Return a crash before and after each call; of those that a loop repeats, the first two and the last."""
    counted = [(label, labels[: position + 1].count(label)) for position, label in enumerate(labels)]
    return [
        Fault(label, "crash", after=after, occurrence=occurrence)
        for label, occurrence in counted
        if occurrence <= 2 or occurrence == labels.count(label)
        for after in (False, True)
    ]


def test_a_crash_is_mended_by_the_recovery(slots: Callable[..., Any]) -> None:
    """The execution dies at some of its calls; what the guard then starts is about the stored spec."""
    crashes = _crashes(slots().run().labels)[::5]
    assert [p for fault in crashes for p in _broken_after_crash(slots, FIRST, fault, "spec")] == []


# what comes after the recovery does not know in which way the rollout would have gone
AFTER = [("spec", scenario) for scenario in SCENARIOS] + [
    (reason, scenario)
    for reason in ("approval", "rollback")
    for scenario in (FIRST, "is rolled back by an alarm of the last step", "is the first model")
]


@pytest.mark.campaign
@pytest.mark.parametrize(("reason", "scenario"), AFTER)
def test_a_crash_between_any_two_calls_is_mended(slots: Callable[..., Any], scenario: str, reason: str) -> None:
    """It dies before or after a call; then comes the recovery, the same approval again, or the way back."""
    crashes = _crashes(slots(**SCENARIOS[scenario][0]).run().labels)
    assert [p for fault in crashes for p in _broken_after_crash(slots, scenario, fault, reason)] == []
