"""Conditional writes to the endpoint's row, and the containers that it shows as promoted."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.rollout.world import ENDPOINT, EXECUTION, SPEC, World, record_of

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.contracts.unit_entries import PauseState
from mlops_runtime.rollout.audit_chain import GENESIS
from mlops_runtime.rollout.rollout_table import KEPT, RolloutTable, golden_sha256, next_promoted, promoted, promotion

_CONTAINERS = st.lists(st.integers(0, 2 * KEPT), max_size=3 * KEPT)


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


def _after(row: LockRow, record: AuditRecord) -> LockRow:
    found = next_promoted(row, record)
    text = row.promoted if found is None else canonical_json(found).decode()
    return replace(row, promoted=text, audit_head=content_hash(record), audit_sequence=record.sequence)


@given(_CONTAINERS)
def test_the_newest_promotion_of_each_container_is_found(containers: list[int]) -> None:
    """The row stays small, so older promotions are dropped."""
    row, chain = LockRow(endpoint=ENDPOINT), {}
    for number in containers:
        record = record_of(row.audit_sequence + 1, row.audit_head, container_sha256=f"{number:064x}")
        row = _after(row, record)
        chain[content_hash(record)] = record
    newest = list(dict.fromkeys(reversed(containers)))
    assert len(promoted(row)) == min(len(newest), KEPT)
    for place, number in enumerate(newest):
        shown = promotion(row, f"{number:064x}", lambda _, digest: chain.get(digest))
        assert (shown is not None) is (place < KEPT)
        assert shown is None or shown.container_sha256 == f"{number:064x}"


def test_what_did_not_come_to_serve_is_no_promotion() -> None:
    """Whatever its outcome was."""
    row = LockRow(endpoint=ENDPOINT)
    for outcome in set(Outcome) - {Outcome.PROMOTED}:
        assert next_promoted(row, record_of(1, "0" * 64, outcome=outcome, container_sha256="a" * 64)) is None
    assert next_promoted(row, record_of(1, "0" * 64)) is None


def test_the_record_decides_and_not_the_row() -> None:
    """A missing record, another endpoint or container, and a record of another kind show no promotion."""
    held = "a" * 64
    row = _after(LockRow(endpoint=ENDPOINT), record_of(1, "0" * 64, container_sha256=held))
    assert promotion(row, held, lambda *_: record_of(1, "0" * 64, container_sha256=held)) is not None
    others = {"container_sha256": "b" * 64}, {"outcome": Outcome.ROLLED_BACK}, {"endpoint": "another"}
    for change in others:
        assert (
            promotion(row, held, lambda *_, c=change: record_of(1, "0" * 64, **{"container_sha256": held} | c)) is None
        )
    assert promotion(row, held, lambda *_: None) is None


def test_a_record_that_is_not_written_yet_is_read_from_the_row(world: World) -> None:
    """The writer may have died between row and object; the text must match the hash of the head."""
    record = record_of(1, "0" * 64, container_sha256="a" * 64)
    row = replace(_after(world.table.read(), record), audit_last=canonical_json(record).decode())
    assert promotion(row, "a" * 64, lambda *_: None) == record
    forged = canonical_json(replace(record, container_sha256="b" * 64)).decode()
    assert promotion(replace(row, audit_last=forged), "a" * 64, lambda *_: None) is None


def test_golden_requests_are_named_with_their_limits() -> None:
    """A tightened limit has not been passed."""
    golden = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="a" * 64)
    hashes = {
        golden_sha256(replace(SPEC, rollout=replace(SPEC.rollout, golden=each)))
        for each in (None, golden, replace(golden, max_latency_ms=100))
    }
    assert len(hashes) == 3
    assert None in hashes
