"""Manipulations visible in a chain's links alone; ``test_seals.py`` covers signatures."""

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from rollout_world import ENDPOINT, record_of

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.rollout import AuditRecord, audit_key
from mlops_runtime.rollout.record_links import GENESIS, verify


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
