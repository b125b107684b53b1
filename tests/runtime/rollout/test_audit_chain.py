"""Appending to the chain: crashes between side effects, other writers; and manipulations that its links alone show.

``test_seals.py`` covers signatures.
"""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.rollout.world import ENDPOINT, NOW, World, record_in, record_of

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.rollout import (
    AuditRecord,
    Outcome,
    audit_key,
)
from mlops_runtime.rollout.audit_chain import GENESIS, AuditChain, AuditError, verify
from mlops_runtime.rollout.outcome_record import Claim, record
from mlops_runtime.rollout.seals import Sealer


class _CrashError(Exception):
    pass


class _DyingChain(AuditChain):
    """Fails instead of writing the objects."""

    def write(self, record: object, seal: object) -> None:
        del record, seal
        raise _CrashError


def test_a_crash_between_row_and_object_is_repaired_by_the_retry(promoted: tuple[World, Claim]) -> None:
    """The row has the record, and the retry writes its object without a second record."""
    world, claim = promoted
    dying = _DyingChain(s3=world.s3, bucket="audit", table=world.table, heads="heads", sealer=world.kms.sealer)
    with pytest.raises(_CrashError):
        record(claim, sagemaker=world.sagemaker, chain=dying)
    assert world.objects() == {}
    assert world.problems() == [
        "sequence 1 is missing",
        f"sequence 1 does not have the hash {world.table.read().audit_head[:16]} that follows from the head",
        f"the row's head {world.table.read().audit_head[:16]} at sequence 1 has no seal",
    ]
    assert record_in(world, claim)["sequence"] == 1
    assert world.problems() == []
    assert len(world.objects()) == 1


def test_a_crash_is_repaired_by_the_next_writer(promoted: tuple[World, Claim]) -> None:
    """A writer that never returns leaves no gap."""
    world, claim = promoted
    dying = _DyingChain(s3=world.s3, bucket="audit", table=world.table, heads="heads", sealer=world.kms.sealer)
    with pytest.raises(_CrashError):
        record(claim, sagemaker=world.sagemaker, chain=dying)
    rejection = Claim(outcome=Outcome.REJECTED, reason="lost", execution="retrain", at=NOW)
    assert record_in(world, rejection)["sequence"] == 2
    assert world.problems() == []


def test_a_record_that_comes_while_the_chain_is_read_is_no_problem(promoted: tuple[World, Claim]) -> None:
    """For the whole chain and for its newest part."""
    world, claim = promoted
    record_in(world, claim)
    others = [Claim(outcome=Outcome.REJECTED, reason="lost", execution=f"retrain-{i}", at=NOW) for i in range(2)]

    class Moving(AuditChain):
        """Another writer appends before the objects are read."""

        def contents(self, *span: Any) -> dict[str, bytes]:
            if others:
                record_in(world, others.pop())
            return super().contents(*span)

    chain = Moving(s3=world.s3, bucket="audit", table=world.table, heads="heads", sealer=world.kms.sealer)
    assert chain.problems(world.kms.public.is_signed) == []
    others.append(Claim(outcome=Outcome.REJECTED, reason="lost", execution="retrain-9", at=NOW))
    assert chain.part(world.kms.public.is_signed, until=None, size=2).problems == ()
    assert (others, world.table.read().audit_sequence) == ([], 4)


def test_a_record_whose_object_is_not_yet_written_is_no_problem(promoted: tuple[World, Claim]) -> None:
    """A writer has moved the row; if it died there, that is a problem."""
    world, claim = promoted
    record_in(world, claim)
    is_signed = world.kms.public.is_signed
    seen: list[dict[str, bytes]] = []

    class Late(AuditChain):
        """The newest record's object appears after the first read."""

        def contents(self, *span: Any) -> dict[str, bytes]:
            seen.append(super().contents(*span))
            return {} if len(seen) == 1 else seen[-1]

    chain = Late(s3=world.s3, bucket="audit", table=world.table, heads="heads", sealer=world.kms.sealer)
    assert (chain.problems(is_signed), len(seen)) == ([], 2)
    seen.clear()
    assert (chain.part(is_signed, until=None, size=2).problems, len(seen)) == ((), 2)
    for key in world.chain.contents():
        world.s3.delete_object(Bucket="audit", Key=key)
    assert "sequence 1 is missing" in chain.problems(is_signed)


def test_writers_at_once_make_one_chain(promoted: tuple[World, Claim]) -> None:
    """Six rejections and a promotion from threads make seven records without a fork."""
    world, claim = promoted
    claims = [claim] + [
        Claim(outcome=Outcome.REJECTED, reason="lost", execution=f"retrain-{i}", at=NOW) for i in range(6)
    ]
    threads = [threading.Thread(target=record_in, args=(world, each)) for each in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.problems() == []
    assert world.table.read().audit_sequence == len(world.objects()) == 7


def test_another_content_in_the_place_of_a_record_is_an_older_version(promoted: tuple[World, Claim]) -> None:
    """A foreign object under a record's key does not stop writers; the row has the correct content."""
    world, claim = promoted
    record_in(world, claim)
    key, content = next(iter(world.objects().items()))
    world.s3.put_object(Bucket="audit", Key=key, Body=b"{}")
    assert record_in(world, replace(claim, execution="next"))["sequence"] == 2
    assert world.objects()[key] == content
    assert world.problems() == []


def test_fails_without_a_key(promoted: tuple[World, Claim]) -> None:
    """A chain opened for reading cannot write."""
    world, claim = promoted
    reader = AuditChain(s3=world.s3, bucket="audit", table=world.table, heads="heads")
    with pytest.raises(AuditError, match="opened without a key"):
        record(claim, sagemaker=world.sagemaker, chain=reader)
    assert world.objects() == {}


def test_a_key_that_does_not_sign_stops_the_record(promoted: tuple[World, Claim]) -> None:
    """Nothing changes without a signature, and the machine retries."""
    world, claim = promoted

    class Disabled:
        def sign(self, **_: object) -> object:
            raise ClientError({"Error": {"Code": "DisabledException", "Message": "the key is disabled"}}, "Sign")

    chain = replace(world.chain, sealer=Sealer(kms=Disabled(), key="k"))  # type: ignore[arg-type]  # a client that only fails
    with pytest.raises(ClientError, match="disabled"):
        record(claim, sagemaker=world.sagemaker, chain=chain)
    assert world.table.read().audit_sequence == 0


def _chain(length: int) -> tuple[dict[str, bytes], str]:
    objects, head = {}, GENESIS
    for sequence in range(1, length + 1):
        record = record_of(sequence, head)
        head = content_hash(record)
        objects[audit_key(ENDPOINT, sequence, head)] = canonical_json(record)
    return objects, head


@given(st.integers(0, 12))
def test_a_whole_chain_has_no_problems(length: int) -> None:
    """Of any length, also empty."""
    objects, head = _chain(length)
    assert verify(objects, endpoint=ENDPOINT, head=head, sequence=length) == []


@given(st.integers(1, 8), st.data())
def test_any_single_damage_is_noticed(length: int, data: st.DataObject) -> None:
    """A changed byte, a missing object, a swap, a duplicate sequence, and a record before the first or after the head."""
    objects, head = _chain(length)
    keys = sorted(objects)
    key = data.draw(st.sampled_from(keys))
    damage = data.draw(st.sampled_from(["byte", "missing", "swap", "fork", "before", "past"]))
    if damage == "byte":
        at = data.draw(st.integers(0, len(objects[key]) - 1))
        content = bytearray(objects[key])
        content[at] ^= data.draw(st.integers(1, 127))
        objects[key] = bytes(content)
    elif damage == "missing":
        del objects[key]
    elif damage == "swap":
        other = data.draw(st.sampled_from(keys))
        objects[key], objects[other] = objects[other], objects[key]
        if other == key:
            return
    else:
        places = {"fork": st.integers(1, length), "before": st.integers(-1, 0), "past": st.just(length + 1)}
        sequence = data.draw(places[damage])
        forged = record_of(sequence, GENESIS, reason="forged")
        objects[audit_key(ENDPOINT, sequence, content_hash(forged))] = canonical_json(forged)
    assert verify(objects, endpoint=ENDPOINT, head=head, sequence=length) != []


def _tampered() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield every single change of a chain of three by its kind: each byte, object, pair and position."""
    objects, _ = _chain(3)
    keys = sorted(objects)
    for key in keys:
        content = objects[key]
        yield "missing", {k: v for k, v in objects.items() if k != key}
        for at in range(len(content)):
            changed = bytes([content[at] ^ 1])
            yield f"byte {at} changed", objects | {key: content[:at] + changed + content[at + 1 :]}
            yield f"byte {at} left out", objects | {key: content[:at] + content[at + 1 :]}
            yield f"cut at {at}", objects | {key: content[:at]}
        yield "more after it", objects | {key: content + b" "}
        for other in (f"{key}.bak", key.replace(ENDPOINT, "other"), audit_key(ENDPOINT, 4, "f" * 64)):
            yield "renamed", {other if k == key else k: v for k, v in objects.items()}
            yield "doubled", objects | {other: content}
    for one, other in itertools.permutations(keys, 2):
        yield "swapped", objects | {one: objects[other], other: objects[one]}
        yield "put in another's place", objects | {one: objects[other]}
    for sequence in range(-1, 6):
        forged = record_of(sequence, GENESIS, reason="forged")
        yield "added", objects | {audit_key(ENDPOINT, sequence, content_hash(forged)): canonical_json(forged)}
    for start in range(1, 4):
        yield "written anew from there on", _rewritten(start)


def _rewritten(start: int) -> dict[str, bytes]:
    """Return a consistent chain of three that differs from a record on."""
    objects, head = {}, GENESIS
    for sequence in range(1, 4):
        record = record_of(sequence, head, **({"reason": "another story"} if sequence == start else {}))
        head = content_hash(record)
        objects[audit_key(ENDPOINT, sequence, head)] = canonical_json(record)
    return objects


def test_every_single_tampering_is_noticed() -> None:
    """Exhaustive for one chain and its head."""
    _, head = _chain(3)
    unnoticed = [what for what, objects in _tampered() if not verify(objects, endpoint=ENDPOINT, head=head, sequence=3)]

    assert unnoticed == []
    assert sum(1 for _ in _tampered()) > 1000


def test_problems_are_named() -> None:
    """Missing, changed and forked records are named."""
    objects, head = _chain(3)
    keys = sorted(objects)
    assert verify(objects | {keys[1]: b"{}"}, endpoint=ENDPOINT, head=head, sequence=3)[0].startswith(
        f"{keys[1]} is changed"
    )
    without = {key: value for key, value in objects.items() if key != keys[0]}
    assert "sequence 1 is missing" in verify(without, endpoint=ENDPOINT, head=head, sequence=3)
    fork = record_of(2, GENESIS, reason="forged")
    forked = objects | {audit_key(ENDPOINT, 2, content_hash(fork)): canonical_json(fork)}
    assert verify(forked, endpoint=ENDPOINT, head=head, sequence=3) == ["sequence 2 is forked: 2 records"]


def test_reordered_links_are_named() -> None:
    """Records whose links skip a sequence fail, though each is intact."""
    first = record_of(1, GENESIS)
    second = record_of(2, content_hash(first))
    third = record_of(3, content_hash(first))  # skips the second
    records: list[AuditRecord] = [first, second, third]
    objects = {audit_key(ENDPOINT, r.sequence, content_hash(r)): canonical_json(r) for r in records}
    problems = verify(objects, endpoint=ENDPOINT, head=content_hash(third), sequence=3)
    assert problems == ["reordered: the record after sequence 2 follows sequence 1"]
