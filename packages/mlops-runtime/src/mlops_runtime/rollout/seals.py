"""Seals of audit records: made with a KMS key that only recorders may use, and held against the records and the published heads.

One signature covers the record, by its hash, its place and whose chain it is of. The newest seals are published to a bucket in
which no object is written twice, so that a chain that was cut back, or written anew, contradicts what was published.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.rollout import SEAL, AuditRecord, AuditSeal, LockRow, published_key, seal_key

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

ALGORITHM: Final = "ECDSA_SHA_256"

IsSigned = Callable[[bytes, bytes], bool]  # message and DER signature


def statement(endpoint: str, sequence: int, digest: str, key: str) -> bytes:
    """Return what a seal's signature signs: at most 4,096 bytes, which KMS takes as they are.

    See: https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html

    Example:
        >>> statement("demand", 1, "ab", "arn")
        b'{"endpoint":"demand","format":"mlops.audit-seal/1","key":"arn","sequence":1,"sha256":"ab"}'
    """
    return canonical_json(
        {"endpoint": endpoint, "format": "mlops.audit-seal/1", "key": key, "sequence": sequence, "sha256": digest}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealer:
    """Signs records with a key of the unit.

    Args:
        kms: Client.
        key: ARN of an ECC_NIST_P256 key that signs.
    """

    kms: "KMSClient"
    key: str

    def seal(self, record: AuditRecord) -> AuditSeal:
        """Sign a record. Two seals of one record differ: ECDSA takes a random number."""
        digest = content_hash(record)
        return AuditSeal(
            endpoint=record.endpoint,
            sequence=record.sequence,
            sha256=digest,
            key=self.key,
            signature=self.sign(statement(record.endpoint, record.sequence, digest, self.key)),
        )

    def sign(self, message: bytes) -> str:
        """Return the signature of a message, DER in base64."""
        answer = self.kms.sign(KeyId=self.key, Message=message, MessageType="RAW", SigningAlgorithm=ALGORITHM)
        return base64.b64encode(answer["Signature"]).decode()


def broken_seals(
    objects: Mapping[str, bytes], published: Mapping[str, bytes] | None, *, row: LockRow, is_signed: IsSigned
) -> list[str]:
    """Return what seals and published heads say against a chain; ``audit.verify`` says what the chain itself does.

    Args:
        objects: Content of each audit object by key: records and seals.
        published: Content of each published head by key; None in a copy without them.
        row: The endpoint's or unit's row; its head and sequence count.
        is_signed: Whether a message has this signature of the unit's key.
    """
    problems: list[str] = []
    beside = {key: content for key, content in objects.items() if key.endswith(SEAL)}
    own = set(_signed(beside, row.endpoint, seal_key, is_signed, problems))
    heads = own if published is None else set(_signed(published, row.endpoint, published_key, is_signed, problems))
    records, sealed = _records(objects), own | heads
    newest = max(sealed, default=(0, ""))[0]
    if newest > row.audit_sequence:
        problems.append(f"record {newest} was published, but the chain ends at {row.audit_sequence}: it was cut back")
    numbers = Counter(number for number, _ in sealed)
    problems += [
        f"sequence {number} was sealed for {count} records: the chain was written anew"
        for number, count in sorted(numbers.items())
        if count > 1
    ]
    for number, digest in sorted(sealed - records):
        problems.append(f"sequence {number} was sealed with the hash {digest[:16]}, which is not in the chain")
    for number, digest in sorted(records - (own & heads)):
        what = "has no seal" if (number, digest) not in own else "is not among the published heads"
        problems.append(f"sequence {number} with the hash {digest[:16]} {what}")
    if row.audit_sequence and (row.audit_sequence, row.audit_head) not in sealed:
        problems.append(f"the row's head {row.audit_head[:16]} at sequence {row.audit_sequence} has no seal")
    return problems


def newest_head(published: Mapping[str, bytes], endpoint: str, is_signed: IsSigned) -> tuple[int, str]:
    """Return sequence and hash of the newest published head that is signed; 0 and "" if there is none."""
    return max(_signed(published, endpoint, published_key, is_signed, []), default=(0, ""))


def _signed(
    contents: Mapping[str, bytes],
    endpoint: str,
    key_of: Callable[[str, int, str], str],
    is_signed: IsSigned,
    problems: list[str],
) -> Iterator[tuple[int, str]]:
    """Give sequence and hash of each seal that is the chain's and signed; name the others."""
    for key, content in sorted(contents.items()):
        try:
            seal = from_json(AuditSeal, content)
            signature = base64.b64decode(seal.signature, validate=True)
        except (ContractError, ValueError) as error:
            problems.append(f"{key} is not a seal: {error}")
            continue
        if seal.endpoint != endpoint or key != key_of(endpoint, seal.sequence, seal.sha256):
            problems.append(f"{key} is the seal of sequence {seal.sequence} of {seal.endpoint}, {seal.sha256[:16]}")
        elif not is_signed(statement(endpoint, seal.sequence, seal.sha256, seal.key), signature):
            problems.append(f"{key} is not signed with the unit's key")
        else:
            yield seal.sequence, seal.sha256


def _records(objects: Mapping[str, bytes]) -> set[tuple[int, str]]:
    found = set()
    for key, content in objects.items():
        if not key.endswith(SEAL):
            with suppress(ContractError):  # named by ``audit.verify``
                found.add((from_json(AuditRecord, content).sequence, hashlib.sha256(content).hexdigest()))
    return found
