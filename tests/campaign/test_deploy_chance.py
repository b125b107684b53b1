"""The Deploy machine where a third of all calls fail, and with mutations of its definition."""

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.campaign.deploy import MACHINE, SPEC, machine_of
from tests.campaign.machine import Fault, label_of

from mlops_constructs._state_machine import tasks

RUNS = 200
SEED = 20261124
MAXIMUM_PAYLOAD = 64 * 1024
MAXIMUM_HISTORY = 25_000


@pytest.mark.campaign
def test_a_third_of_failing_calls_stops_hardly_any_rollout(deploy: Any) -> None:
    """Calls fail with a probability of 0.3 with transient errors; at least 99 of 100 rollouts still promote, all end well."""
    chance = random.Random(SEED)
    broken: list[str] = []
    promoted = 0
    for number in range(RUNS):
        world = deploy()
        result = world.run(chance=chance)
        broken += [f"run {number}: {problem}" for problem in world.broken(result)]
        promoted += result.outcome == "PROMOTED"
    assert broken == []
    assert promoted >= RUNS * 0.99


def test_payload_and_history_stay_small_in_the_longest_rollout(deploy: Any) -> None:
    """Polls for as long as a rollout may take, each call failing twice before it succeeds.

    See: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    """
    spec = replace(SPEC, rollout=replace(SPEC.rollout, maximum=28_800))
    result = deploy(spec, duration=28_700.0).run(machine=machine_of(spec))
    assert result.outcome == "PROMOTED"
    assert result.largest <= MAXIMUM_PAYLOAD
    # a retried attempt adds three events, and a poll at most twenty
    assert 3 * result.events < MAXIMUM_HISTORY


def _without_catch() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, _ in tasks(MACHINE):
        changed: dict[str, Any] = copy.deepcopy(dict(MACHINE))
        state = changed["States"].get(name)
        if state is not None:
            del state["Catch"]
            yield f"{name} without Catch", changed


def _without_unlock() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in MACHINE["States"].items():
        for holder in (state, *state.get("Catch", ()), *state.get("Choices", ())):
            for key in ("Next", "Default"):
                if holder.get(key) == "Unlock":
                    changed: dict[str, Any] = copy.deepcopy(dict(MACHINE))
                    _find(changed["States"][name], holder)[key] = "Announce"
                    yield f"{name} past Unlock", changed


def _without_comparison() -> Iterator[tuple[str, dict[str, Any]]]:
    changed: dict[str, Any] = copy.deepcopy(dict(MACHINE))
    comparison = " and $endpoint.EndpointConfigName = $plan.config_name"
    for choice in changed["States"]["JudgeEndpoint"]["Choices"]:
        choice["Condition"] = choice["Condition"].replace(comparison, "")
    assert changed != MACHINE
    yield "success without comparing the config", changed


def _find(state: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    return next(h for h in (state, *state.get("Catch", ()), *state.get("Choices", ())) if h == like)


MUTANTS = dict([*_without_catch(), *_without_unlock(), *_without_comparison()])


COMPARISON, *OTHERS = reversed(MUTANTS)
SOME = [COMPARISON, *(pytest.param(name, marks=pytest.mark.campaign) for name in OTHERS)]


@pytest.mark.parametrize("mutant", SOME)
def test_whatever_is_taken_away_is_missed(deploy: Any, mutant: str) -> None:
    """A machine without one Catch, one Unlock, or the comparison of configs violates the invariant under a fault."""
    machine = MUTANTS[mutant]
    for scenario in (
        {},
        {"update": "old"},
        {"invocations": 3},
        {"serves": False},
        {"serves": False, "create": "failed"},
    ):
        healthy = deploy(**scenario)
        if healthy.broken(healthy.run(machine=machine)) or _lies(healthy):
            return
        for label in dict.fromkeys(deploy(**scenario).run(machine=machine).labels):
            for after in (False, True):
                world = deploy(**scenario)
                result = world.run(Fault(label, "5xx", always=True, after=after), machine=machine)
                if world.broken(result, excused=frozenset({label})):
                    return
    pytest.fail("nothing broke")


def _lies(world: Any) -> bool:
    """Whether the machine claimed something false, which only the record's own check kept from being written."""
    return any(record.reason.startswith("meant to ") for record in world.records())


def test_labels_tell_calls_apart() -> None:
    """Lock and unlock are one integration and two calls."""
    assert label_of("dynamodb:updateItem", {"UpdateExpression": "SET a = :b"}) == "dynamodb:updateItem lock"
    assert label_of("dynamodb:updateItem", {"UpdateExpression": "REMOVE a"}) == "dynamodb:updateItem unlock"
