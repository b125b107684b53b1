"""Manipulations of a chain by a writer to row and buckets: each is found, and none blocks later records.

Keys as in KMS and PEM files, checked against the package `cryptography`.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.runtime.rollout.world import ENDPOINT, NOW, World, record_of
from tests.signing import KEY, SigningKms

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.rollout import AuditRecord, AuditSeal, LockRow, Outcome, audit_key, seal_key
from mlops_runtime.rollout.audit_chain import GENESIS, Move
from mlops_runtime.rollout.outcome_record import Claim, record
from mlops_runtime.rollout.seals import PublicKey, PublicKeyError, Sealer, broken_seals, statement

LENGTH = 4
LATER = Claim(outcome=Outcome.REJECTED, reason="later", execution="later", at=NOW)


KMS = SigningKms()


@dataclass
class Attacker:
    """An attacker with write access to audit bucket and row, without the signing key and access to published heads."""

    world: World
    before: dict[str, Any]

    def put(self, key: str, content: bytes) -> None:
        """Put an object."""
        self.world.s3.put_object(Bucket="audit", Key=key, Body=content)

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.world.s3.delete_object(Bucket="audit", Key=key)

    def keys(self, sequence: int) -> tuple[str, str]:
        """Return the keys of a record and its seal."""
        found = [key for key in self.world.contents("audit") if f"/{sequence:08d}-" in key]
        sealed, key = sorted(found, key=len, reverse=True)[:2]
        return key, sealed

    def record(self, sequence: int) -> AuditRecord:
        """Return a record as stored."""
        return from_json(AuditRecord, self.world.contents("audit")[self.keys(sequence)[0]])

    def row(self, head: AuditRecord | None, seal: AuditSeal | None = None) -> None:
        """Make the row end with a record."""
        self.world.dynamodb.delete_item(TableName="rollout", Key={"endpoint": {"S": ENDPOINT}})
        if head is None:
            return
        item = {
            "endpoint": {"S": ENDPOINT},
            "audit_head": {"S": content_hash(head)},
            "audit_sequence": {"N": str(head.sequence)},
            "audit_last": {"S": canonical_json(head).decode()},
        }
        if seal is not None:
            item["audit_seal"] = {"S": canonical_json(seal).decode()}
        self.world.dynamodb.put_item(TableName="rollout", Item=item)

    def add(self, made: AuditRecord, sealer: Sealer | None = None) -> AuditSeal | None:
        """Store a record with a seal of another key."""
        self.put(audit_key(ENDPOINT, made.sequence, content_hash(made)), canonical_json(made))
        if sealer is None:
            return None
        seal = sealer.seal(made)
        self.put(seal_key(ENDPOINT, made.sequence, seal.sha256), canonical_json(seal))
        return seal

    def empty(self, start: int = 1) -> None:
        """Delete all objects from a sequence on."""
        for sequence in range(start, LENGTH + 1):
            for key in self.keys(sequence):
                self.delete(key)

    def forge(self, sealer: Sealer | None = None, *, start: int = 1, length: int = LENGTH, **changes: Any) -> None:
        """Write a new consistent chain from a sequence on, with its row."""
        head = GENESIS if start == 1 else content_hash(self.record(start - 1))
        self.empty(start)
        for sequence in range(start, length + 1):
            made = record_of(sequence, head, **({"reason": "another story"} | changes))
            head = content_hash(made)
            seal = self.add(made, sealer)
        self.row(made, seal)


def _junk(attacker: Attacker) -> None:
    attacker.put(f"audit/{ENDPOINT}/99999999-junk.json", b"junk")


def _junk_of_valid_shape(attacker: Attacker) -> None:
    attacker.add(record_of(LENGTH + 1, content_hash(attacker.record(LENGTH)), reason="forged"))


def _junk_seal(attacker: Attacker) -> None:
    attacker.put(f"audit/{ENDPOINT}/{LENGTH + 1:08d}-{'0' * 16}.seal.json", b"junk")


def _changed(attacker: Attacker) -> None:
    key, _ = attacker.keys(2)
    attacker.put(key, attacker.world.contents("audit")[key].replace(b'"r"', b'"x"'))


def _changed_at_the_head(attacker: Attacker) -> None:
    attacker.put(attacker.keys(LENGTH)[0], b"{}")
    attacker.put(attacker.keys(LENGTH)[1], b"{}")


def _left_out(attacker: Attacker) -> None:
    for key in attacker.keys(2):
        attacker.delete(key)


def _seal_left_out(attacker: Attacker) -> None:
    attacker.delete(attacker.keys(2)[1])


def _doubled(attacker: Attacker) -> None:
    content = attacker.world.contents("audit")[attacker.keys(2)[0]]
    attacker.put(audit_key(ENDPOINT, 3, content_hash(attacker.record(2))), content)


def _reordered(attacker: Attacker) -> None:
    (one, _), (other, _) = attacker.keys(2), attacker.keys(3)
    contents = attacker.world.contents("audit")
    attacker.put(one, contents[other])
    attacker.put(other, contents[one])


def _forked(attacker: Attacker) -> None:
    attacker.add(record_of(3, content_hash(attacker.record(2)), reason="another story"))


def _forked_with_its_row(attacker: Attacker) -> None:
    attacker.forge(start=3)


def _truncated(attacker: Attacker) -> None:
    head = attacker.record(2)
    seal = from_json(AuditSeal, attacker.world.contents("audit")[attacker.keys(2)[1]])
    attacker.empty(3)
    attacker.row(head, seal)


def _forged(attacker: Attacker) -> None:
    attacker.forge()


def _forged_longer(attacker: Attacker) -> None:
    attacker.forge(length=LENGTH + 3)


def _forged_with_another_key(attacker: Attacker) -> None:
    attacker.forge(SigningKms().sealer)


def _emptied(attacker: Attacker) -> None:
    attacker.empty()
    attacker.row(None)


def _row_emptied(attacker: Attacker) -> None:
    attacker.row(None)


def _older_times(attacker: Attacker) -> None:
    attacker.forge(start=LENGTH, at="2017-07-01T09:00:00Z")


def _of_another_endpoint(attacker: Attacker) -> None:
    other = record_of(2, content_hash(attacker.record(1)), endpoint="other")
    seal = attacker.world.kms.sealer.seal(other)
    attacker.put(attacker.keys(2)[0], canonical_json(other))
    attacker.put(attacker.keys(2)[1], canonical_json(seal))


def _signatures_swapped(attacker: Attacker) -> None:
    contents = attacker.world.contents("audit")
    (_, one), (_, other) = attacker.keys(2), attacker.keys(3)
    seals = {key: from_json(AuditSeal, contents[key]) for key in (one, other)}
    attacker.put(one, canonical_json(replace(seals[one], signature=seals[other].signature)))
    attacker.put(other, canonical_json(replace(seals[other], signature=seals[one].signature)))


def _signed_with_another_key(attacker: Attacker) -> None:
    key = attacker.keys(2)[1]
    attacker.put(key, canonical_json(SigningKms().sealer.seal(attacker.record(2))))


def _another_key_named(attacker: Attacker) -> None:
    key = attacker.keys(2)[1]
    seal = from_json(AuditSeal, attacker.world.contents("audit")[key])
    attacker.put(key, canonical_json(replace(seal, key="arn:aws:kms:us-east-1:123456789012:key/of-somebody-else")))


def _older_state_replayed(attacker: Attacker) -> None:
    """Restore the state after two records: objects, seals and row."""
    attacker.empty(3)
    attacker.world.dynamodb.put_item(TableName="rollout", Item=attacker.before)


def _row_of_junk(attacker: Attacker) -> None:
    attacker.world.dynamodb.update_item(
        TableName="rollout",
        Key={"endpoint": {"S": ENDPOINT}},
        UpdateExpression="SET audit_last = :junk, audit_seal = :junk",
        ExpressionAttributeValues={":junk": {"S": "junk"}},
    )
    for key in attacker.keys(LENGTH):
        attacker.delete(key)


ATTACKS: dict[str, tuple[Callable[[Attacker], None], str]] = {
    "junk beyond the head": (_junk, "99999999-junk.json is changed"),
    "junk with the shape of a record": (_junk_of_valid_shape, "sequence 5 is past the head"),
    "junk with the shape of a seal": (_junk_seal, "is not a seal"),
    "a record changed": (_changed, "is changed"),
    "the record at the head changed": (_changed_at_the_head, "is changed"),
    "a record left out": (_left_out, "sequence 2 is missing"),
    "a seal left out": (_seal_left_out, "has no seal"),
    "a record doubled": (_doubled, "is changed"),
    "two records reordered": (_reordered, "is changed"),
    "a fork": (_forked, "sequence 3 is forked"),
    "a fork with its row": (_forked_with_its_row, "sequence 3 was sealed with the hash"),
    "cut back with the row": (_truncated, "it was cut back"),
    "forged with its row": (_forged, "has no seal"),
    "forged longer than it was": (_forged_longer, "has no seal"),
    "forged with its row and another key": (_forged_with_another_key, "is not signed with the unit's key"),
    "everything emptied": (_emptied, "record 4 was published, but the chain ends at 0"),
    "the row emptied": (_row_emptied, "the chain ends at 0"),
    "times that decrease": (_older_times, "earlier than a record before it"),
    "a record of another endpoint": (_of_another_endpoint, "is the seal of sequence 2 of other"),
    "signatures swapped": (_signatures_swapped, "is not signed with the unit's key"),
    "a signature of another key": (_signed_with_another_key, "is not signed with the unit's key"),
    "another key named": (_another_key_named, "is not signed with the unit's key"),
    "an older state replayed": (_older_state_replayed, "it was cut back"),
    "a row of junk": (_row_of_junk, "sequence 4 is missing"),
}
# the next writer repairs it from the row's record and seal of the head; the other content is an older version
HEALED = {"the record at the head changed"}


@pytest.fixture
def attacked(world: World) -> Attacker:
    """Return a chain of four, and the row after the second record."""
    before: dict[str, Any] = {}
    for sequence in range(1, LENGTH + 1):
        world.chain.append(lambda row: Move(record=record_of(row.audit_sequence + 1, row.audit_head)))
        if sequence == 2:
            before = world.dynamodb.get_item(TableName="rollout", Key={"endpoint": {"S": ENDPOINT}})["Item"]
    return Attacker(world, before)


def test_a_chain_that_nobody_touched_is_whole(attacked: Attacker) -> None:
    """Each record has its seal, next to it and published."""
    assert attacked.world.problems() == _found_in_parts(attacked.world, 2) == _found_in_parts(attacked.world, 3) == []
    assert len(attacked.world.contents("heads")) == len(attacked.world.objects()) == LENGTH
    assert len(attacked.world.contents("audit")) == 2 * LENGTH


def _found_in_parts(world: World, size: int) -> list[str]:
    """Return the problems found by reading in parts, each from the hash at the end of the newer one."""
    until, found = None, []
    while (part := world.chain.part(world.kms.public.is_signed, until=until, size=size)).rest is not None:
        found += part.problems
        assert until is None or part.rest.sequence < until.sequence
        until = part.rest
    return [*found, *part.problems]


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_manipulation_is_found_and_none_stops_later_records(attack: str, attacked: Attacker) -> None:
    """``verify`` names it, also in parts; the next execution is recorded and sealed, and the manipulation stays found."""
    manipulate, finding = ATTACKS[attack]
    manipulate(attacked)
    world = attacked.world
    for found in (world.problems(), *(_found_in_parts(world, size) for size in (2, 3))):
        assert [problem for problem in found if finding in problem] != []

    sequence = record(LATER, sagemaker=world.sagemaker, chain=world.chain)["sequence"]

    last = from_json(AuditRecord, str(world.table.read().audit_last))
    key = audit_key(ENDPOINT, sequence, content_hash(last))
    assert (last.execution, last.sequence) == ("later", sequence)
    assert world.objects()[key] == canonical_json(last)
    assert key.replace("audit/", "heads/") in world.contents("heads")
    assert (world.problems() == []) == (attack in HEALED)


def test_times_of_a_signed_chain_may_not_decrease(world: World) -> None:
    """The chain never records an earlier time than its last; a signed one is found too."""
    times = ["2017-08-01T09:00:00Z", "2017-08-01T08:59:59.5Z", "2017-08-01T09:00:00.25Z"]
    for at in times:
        world.chain.append(lambda row, at=at: Move(record=record_of(row.audit_sequence + 1, row.audit_head, at=at)))
    assert [json.loads(content)["at"] for content in world.objects().values()] == [times[0], times[0], times[2]]
    assert world.problems() == []

    row, older = world.table.read(), "2017-08-01T09:00:00Z"
    late = record_of(row.audit_sequence + 1, row.audit_head, at=older)
    seal = world.kms.sealer.seal(late)
    assert world.table.move_head(row, late, content_hash(late), seal=seal)
    world.chain.write(late, seal)
    assert world.problems() == [f"sequence 4 is of {older}, earlier than a record before it"]


def test_a_retry_takes_the_seal_of_the_row(world: World) -> None:
    """Two signatures of a record differ; the retry writes those in the row."""
    world.chain.append(lambda row: Move(record=record_of(row.audit_sequence + 1, row.audit_head)))
    row, before = world.table.read(), world.contents("audit") | world.contents("heads")
    for bucket in ("audit", "heads"):
        for key in world.contents(bucket):
            world.s3.delete_object(Bucket=bucket, Key=key)

    assert world.chain.append(lambda row: row) == row

    assert world.contents("audit") | world.contents("heads") == before
    assert world.problems() == []


def test_a_record_without_a_seal_is_found_however_old(world: World) -> None:
    """Later seals do not cover a forged beginning."""
    old = record_of(1, GENESIS)
    assert world.table.move_head(LockRow(endpoint=ENDPOINT), old, content_hash(old))
    world.chain.write(old, None)

    world.chain.append(lambda row: Move(record=record_of(row.audit_sequence + 1, row.audit_head)))

    assert world.problems() == [f"sequence 1 with the hash {content_hash(old)[:16]} has no seal"]


def test_a_seal_signs_place_and_content() -> None:
    """A record's signature fits no other sequence, endpoint, content or key."""
    kms = SigningKms()
    seal = kms.sealer.seal(record_of(7, GENESIS))
    signature = base64.b64decode(seal.signature)
    assert kms.public.is_signed(statement(ENDPOINT, 7, seal.sha256, seal.key), signature)
    for other in (
        statement(ENDPOINT, 8, seal.sha256, seal.key),
        statement("other", 7, seal.sha256, seal.key),
        statement(ENDPOINT, 7, "f" * 64, seal.key),
        statement(ENDPOINT, 7, seal.sha256, seal.key[:-1]),
    ):
        assert not kms.public.is_signed(other, signature)


def test_without_published_heads_the_seals_beside_count() -> None:
    """Covers a copy without published heads."""
    kms, made = SigningKms(), record_of(1, GENESIS)
    seal, digest = kms.sealer.seal(made), content_hash(made)
    objects = {
        audit_key(ENDPOINT, 1, digest): canonical_json(made),
        seal_key(ENDPOINT, 1, digest): canonical_json(seal),
    }
    row = LockRow(endpoint=ENDPOINT, audit_head=digest, audit_sequence=1)
    assert broken_seals(objects, None, row=row, is_signed=kms.public.is_signed) == []
    assert broken_seals(objects, {}, row=row, is_signed=kms.public.is_signed) == [
        f"sequence 1 with the hash {digest[:16]} is not among the published heads"
    ]


def test_a_pem_file_is_what_others_write() -> None:
    """Byte for byte, and read back."""
    key = serialization.load_der_public_key(KMS.get_public_key(KeyId=KEY)["PublicKey"])
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    assert KMS.public.pem == pem
    assert PublicKey.from_pem(pem) == KMS.public
    assert len(KMS.public.fingerprint) == 64


def test_a_signature_is_of_one_key_and_message() -> None:
    """A changed message, another key and a truncated signature are rejected, also the second time."""
    signature = KMS.sign(KeyId=KEY, Message=b"m", MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    for _ in range(2):
        assert KMS.public.is_signed(b"m", signature)
        assert not KMS.public.is_signed(b"n", signature)
        assert not KMS.public.is_signed(b"m", signature[:-1])
        assert not SigningKms().public.is_signed(b"m", signature)


def test_fails_on_what_is_no_key_of_a_unit() -> None:
    """Rejects another curve, a private key's file and a truncated file."""
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(PublicKeyError, match="on P-256, got 120 other bytes"):
        PublicKey.from_pem(pem)
    with pytest.raises(PublicKeyError, match="begins with -----BEGIN PUBLIC KEY-----"):
        PublicKey.from_pem(pem.replace("PUBLIC", "PRIVATE"))
    with pytest.raises(PublicKeyError, match="is not base64"):
        PublicKey.from_pem(pem.replace("M", "?", 1))
