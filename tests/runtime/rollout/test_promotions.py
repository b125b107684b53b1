"""Containers that the chain shows as promoted."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rollout_world import ENDPOINT, SPEC, World, record_of

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.rollout.promotions import KEPT, golden_sha256, next_promoted, promoted, promotion

_CONTAINERS = st.lists(st.integers(0, 2 * KEPT), max_size=3 * KEPT)


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
