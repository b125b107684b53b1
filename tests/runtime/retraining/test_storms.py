"""The guard against events that are too frequent, too late or foreign."""

import json
import random
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from tests.runtime.retraining.events import (
    RULE,
    SETTINGS,
    alarm_message,
    ended_message,
    guard_of,
    item,
    labels_message,
    recheck_message,
    release,
)
from tests.runtime.rollout.world import NOW, World

from mlops_runtime.contracts.retraining import Decision
from mlops_runtime.lambda_protocol import Message


@pytest.fixture
def firing(world: World) -> World:
    """Return a world with the alarm in ALARM."""
    world.alarm("demand-drift", "ALARM")
    return world


def _forgeries() -> list[Message]:
    """Return 240 forged, stale or foreign messages: every kind with every manipulation."""
    made = []
    for number in range(20):
        for kind in (
            alarm_message(f"f{number}"),
            alarm_message(f"g{number}", manual=True),
            recheck_message(f"h{number}", NOW),
        ):
            event = json.loads(kind.body)
            tricks: list[dict[str, Any]] = [
                {"account": f"{number:012}"},
                {"time": (NOW - timedelta(minutes=16 + number)).isoformat()},
                {"time": (NOW + timedelta(minutes=6 + number)).isoformat()},
                {"source": f"mlops.demand{number}"},
            ]
            made += [
                Message(id=f"{kind.id}-{index}", body=json.dumps(event | trick), sent=NOW)
                for index, trick in enumerate(tricks)
            ]
    return made


def test_no_forged_or_stale_event_starts_anything(firing: World) -> None:
    """While the alarm is in ALARM; none of the 240 uses up a real event's id."""
    guard = guard_of(firing, settings=replace(SETTINGS, recheck_rule=RULE))
    decisions = {guard.handle(message).decision for message in _forgeries()}
    assert decisions == {Decision.INVALID, Decision.STALE}
    assert firing.executions("Retrain") == []
    assert guard.handle(alarm_message("f1")).decision is Decision.STARTED


def test_no_replay_starts_anything(firing: World) -> None:
    """The event of a finished retraining, 200 times more, also in other messages."""
    guard = guard_of(firing)
    owner = guard.handle(alarm_message()).execution
    assert owner is not None
    release(firing, owner)
    replays = [replace(alarm_message(), id=f"r{number}", sent=NOW + timedelta(seconds=number)) for number in range(200)]
    assert {guard.handle(replay).decision for replay in replays} == {Decision.DUPLICATE}
    assert len(firing.executions("Retrain")) == 1


@pytest.mark.campaign
@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_drift_events_start_one_retraining_a_cool_down(firing: World, seed: int) -> None:
    """1,000 events in ten days, three deliveries each, shuffled over four threads; executions end after an hour.

    In any order of delivery, two starts are at least the cool-down apart.
    """
    guard, starts, mutex = guard_of(firing), list[datetime](), threading.Lock()
    events = [alarm_message(f"e{number}", NOW + timedelta(minutes=14.4 * number)) for number in range(1000)] * 3
    random.Random(seed).shuffle(events)

    def deliver(part: int) -> None:
        for message in events[part::4]:
            decision = guard.handle(message)
            if decision.decision is Decision.STARTED and decision.execution is not None:
                with mutex:
                    starts.append(message.sent)
                firing.stepfunctions.stop_execution(executionArn=decision.execution)
                guard.handle(ended_message(f"end-{message.id}", decision.execution, "ABORTED"))

    threads = [threading.Thread(target=deliver, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(firing.executions("Retrain")) == len(set(starts)) <= 10
    ordered = sorted(set(starts))
    assert all(after - before >= timedelta(days=1) for before, after in pairwise(ordered))


class _Whole:
    """A DynamoDB client with atomic calls, which moto lacks between threads."""

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb, self._mutex = dynamodb, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            with self._mutex:
                return getattr(self._dynamodb, name)(**arguments)

        return call


def test_labels_told_thrice_by_four_count_once(world: World) -> None:
    """The sum of 40 ingests, each delivered three times and shuffled over four threads, is exact."""
    limits = replace(SETTINGS, minimum_labels=10**6, label_table="weekly_demand_v1")
    guard = guard_of(world, dynamodb=_Whole(world.dynamodb), settings=limits)
    messages = [labels_message(f"w{number}", number) for number in range(1, 41)] * 3
    random.Random(1).shuffle(messages)

    def deliver(part: int) -> None:
        for message in messages[part::4]:
            guard.handle(message)

    threads = [threading.Thread(target=deliver, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert item(world, "STATE")["new_labels"]["N"] == str(sum(range(1, 41)))
    assert world.executions("Retrain") == []
