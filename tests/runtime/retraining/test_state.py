"""The rows of a pipeline: what is one write, and what a lock holds against."""

from dataclasses import replace
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError
from retraining_events import SETTINGS, release
from rollout_world import NOW, World

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.retraining import RetrainRequest, Trigger
from mlops_runtime.retraining.guard import GuardState, next_state
from mlops_runtime.retraining.state import GuardTable

REQUEST = RetrainRequest(
    trigger=Trigger.ALARM, event_id="e1", as_of="2017-08-01T09:00:00Z", requested_by="demand-drift"
)


@pytest.fixture
def rows(world: World) -> GuardTable:
    """Return the rows of a pipeline without any."""
    return GuardTable(dynamodb=world.dynamodb, table="retraining", pipeline="demand-forecast")


def _next(seen: GuardState, execution: str) -> GuardState:
    return next_state(seen, REQUEST, SETTINGS, execution=execution, now=NOW)


def test_a_state_is_read_as_it_was_written(rows: GuardTable) -> None:
    """Nothing before the first start, everything after it."""
    assert rows.read() == GuardState()
    new = _next(GuardState(), "x1")
    assert rows.take(GuardState(), new, NOW)
    assert rows.read() == new
    assert from_json(RetrainRequest, str(new.request)) == REQUEST


def test_labels_that_came_while_a_start_was_decided_are_not_lost(rows: GuardTable) -> None:
    """The start subtracts what it saw."""
    rows.count("w1", 1000, NOW)
    rows.count("w1", 1000, NOW)
    seen = rows.read()
    assert seen.new_labels == 1000
    rows.count("w2", 70, NOW)
    assert rows.take(seen, _next(seen, "x1"), NOW)
    assert rows.read().new_labels == 70


def test_labels_that_cannot_be_counted_are_an_error(rows: GuardTable) -> None:
    """A refused marker means counted before; anything else means not counted."""
    with pytest.raises(ClientError):
        replace(rows, table="gone").count("w1", 1, NOW)


def test_a_lock_is_taken_once_and_by_who_saw_the_newest_state(rows: GuardTable) -> None:
    """Not from an old state, not while it is held, but once its time is over or its owner is known to be gone."""
    seen = GuardState()
    assert rows.take(seen, _next(seen, "x1"), NOW)
    assert not rows.take(seen, _next(seen, "x2"), NOW)
    held = rows.read()
    assert not rows.take(held, _next(held, "x2"), NOW)
    assert not rows.take(held, _next(held, "x2"), NOW, gone="x0")
    assert rows.take(held, _next(held, "x2"), NOW, gone="x1")
    later = NOW + timedelta(seconds=SETTINGS.lock_seconds + 1)
    assert rows.take(rows.read(), _next(held, "x3"), later)


def test_a_release_is_of_ones_own_lock(rows: GuardTable, world: World) -> None:
    """What somebody else holds stays; the machine's release leaves its outcome, which the next start forgets."""
    seen = GuardState()
    rows.take(seen, _next(seen, "x1"), NOW)
    assert not rows.release("x0")
    release(world, "x1", outcome="REJECTED")
    state = rows.read()
    assert (state.owner, state.last_outcome, state.last_execution) == (None, "REJECTED", "x1")
    assert not rows.release("x1")
    assert rows.take(state, _next(state, "x2"), NOW)
    assert rows.read().last_outcome is None
