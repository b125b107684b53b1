"""Conditional writes to the endpoint's row."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from rollout_world import ENDPOINT, EXECUTION, World, record_of

from mlops_runtime.contracts import content_hash, from_json
from mlops_runtime.contracts.rollout import LockRow
from mlops_runtime.contracts.unit_entries import PauseState
from mlops_runtime.rollout.audit_chain import GENESIS
from mlops_runtime.rollout.rollout_table import RolloutTable


def test_a_row_that_is_not_there_is_empty(world: World) -> None:
    """No lock, no head, nothing live."""
    assert world.table.read() == LockRow(endpoint=ENDPOINT)


def test_the_head_moves_once_from_one_place(world: World) -> None:
    """A writer with an older head has to read again."""
    seen, record = world.table.read(), record_of(1, GENESIS)
    assert world.table.move_head(seen, record, content_hash(record), None, None)
    other = replace(record, reason="other")
    assert not world.table.move_head(seen, other, content_hash(other), None, None)
    row = world.table.read()
    assert (row.audit_head, row.audit_sequence) == (content_hash(record), 1)


def test_the_pointer_moves_only_under_the_lock(world: World) -> None:
    """Not without the lock or after losing it; pointer and head move together."""
    seen, record = world.table.read(), record_of(1, GENESIS)
    pointer = world.pointer("c", "p")
    assert not world.table.move_head(seen, record, content_hash(record), pointer, EXECUTION)
    world.lock("another")
    assert not world.table.move_head(seen, record, content_hash(record), pointer, EXECUTION)
    world.lock(EXECUTION)
    assert world.table.move_head(seen, record, content_hash(record), pointer, EXECUTION)
    row = world.table.read()
    assert row.live is not None
    assert row.audit_sequence == 1


def test_that_something_served_is_known_ever_after(world: World) -> None:
    """From its first record on, also when nothing is live any more; deleted with the endpoint."""
    world.lock()
    first, second = record_of(1, GENESIS), record_of(2, "")
    assert world.table.move_head(world.table.read(), first, content_hash(first), world.pointer("c", "p"), EXECUTION)
    second = replace(second, previous=content_hash(first), at="2017-08-02T09:00:00Z")
    assert world.table.move_head(world.table.read(), second, content_hash(second), world.pointer("d", "p"), EXECUTION)
    assert world.table.read().served == first.at
    third = replace(record_of(3, content_hash(second)), at="2017-08-03T09:00:00Z")
    assert world.table.move_head(world.table.read(), third, content_hash(third), None, EXECUTION)
    assert (world.table.read().live, world.table.read().served) == (None, first.at)
    world.table.forget()
    assert world.table.read().served is None


def test_a_lock_is_handed_over_by_its_holder_alone(world: World) -> None:
    """There is no gap in between."""
    assert not world.table.hand_over(EXECUTION, "heir")
    world.lock()
    assert not world.table.hand_over("another", "heir")
    assert world.table.hand_over(EXECUTION, "heir")
    row = world.table.read()
    assert (row.owner, row.lock_until is None) == ("heir", False)


def test_a_pointer_can_be_removed_with_a_record(world: World) -> None:
    """In the same write as the record."""
    world.point(world.pointer("c", "p"))
    world.lock()
    record = record_of(1, GENESIS)
    assert world.table.move_head(world.table.read(), record, content_hash(record), None, EXECUTION)
    assert world.table.read().live is None


def test_forgetting_keeps_the_chain(world: World) -> None:
    """The endpoint's history stays."""
    record = record_of(1, GENESIS)
    world.table.move_head(world.table.read(), record, content_hash(record), None, None)
    world.table.set_desired("s3://b/k")
    world.lock()
    world.table.forget()
    row = world.table.read()
    assert (row.desired, row.owner, row.lock_until, row.audit_sequence) == (None, None, None, 1)


def test_fails_when_the_table_is_not_there(world: World) -> None:
    """Only a failed condition is a result; anything else is an error."""
    table = RolloutTable(world.dynamodb, "gone", ENDPOINT)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        table.set_desired("s3://b/k")


def test_a_pause_moves_with_the_head(world: World) -> None:
    """In one write with its record, or not at all; later records leave it unchanged."""
    seen, record = world.table.read(), record_of(1, GENESIS)
    pause = PauseState(is_paused=True, by="ann", at="2017-08-01T09:00:00Z", reason="stocktaking")
    assert world.table.move_head(seen, record, content_hash(record), pause=pause)
    assert not world.table.move_head(seen, record, content_hash(record), pause=replace(pause, by="bob"))
    later = record_of(2, content_hash(record))
    assert world.table.move_head(world.table.read(), later, content_hash(later))
    row = world.table.read()
    assert (row.audit_sequence, from_json(PauseState, row.pause or "")) == (2, pause)
