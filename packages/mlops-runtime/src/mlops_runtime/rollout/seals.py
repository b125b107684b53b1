"""Seals of audit records: signed with a KMS key that only recorders may use, verified with the public key alone."""

import base64
import binascii
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.rollout import SEAL, AuditRecord, AuditSeal, LockRow, published_key, seal_key
from mlops_runtime.verify import report_signature

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

ALGORITHM: Final = "ECDSA_SHA_256"

IsSigned = Callable[[bytes, bytes], bool]  # message and DER signature

_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


def statement(endpoint: str, sequence: int, digest: str, key: str) -> bytes:
    """Return the message that a seal signs: at most 4,096 bytes, KMS's limit for messages that are not hashed.

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
    """Signs records with a key of the unit."""

    kms: "KMSClient"
    key: str  # ARN of an ECC_NIST_P256 signing key

    def seal(self, record: AuditRecord) -> AuditSeal:
        """Sign a record. Two seals of one record differ, since ECDSA uses a random number."""
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
    """Return the problems of a chain's seals and published heads; see ``audit_chain.verify`` for those of its records.

    Args:
        objects: Content of each audit object by key: records and seals.
        published: Content of each published head by key; None for a copy without them.
        row: The endpoint's or unit's row, for its head and sequence.
        is_signed: Returns whether the unit's key made the signature of a message.
    """
    problems: list[str] = []
    beside = {key: content for key, content in objects.items() if key.endswith(SEAL)}
    own = set(_signed(beside, row.endpoint, seal_key, is_signed, problems))
    heads = own if published is None else set(_signed(published, row.endpoint, published_key, is_signed, problems))
    records = {(record.sequence, hashlib.sha256(content).hexdigest()) for record, content in readable_records(objects)}
    sealed = own | heads
    newest = max(sealed, default=(0, ""))[0]
    if newest > row.audit_sequence:
        problems.append(f"record {newest} was published, but the chain ends at {row.audit_sequence}: it was cut back")
    numbers = Counter(number for number, _ in sealed)
    problems += [
        f"sequence {number} was sealed for {count} records: the chain was rewritten"
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
    """Return sequence and hash of the newest published head with a valid signature; 0 and "" without one."""
    return max(_signed(published, endpoint, published_key, is_signed, []), default=(0, ""))


def _signed(
    contents: Mapping[str, bytes],
    endpoint: str,
    key_of: Callable[[str, int, str], str],
    is_signed: IsSigned,
    problems: list[str],
) -> Iterator[tuple[int, str]]:
    """Yield sequence and hash of each valid seal of the chain; add the others to ``problems``."""
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


def readable_records(objects: Mapping[str, bytes]) -> Iterator[tuple[AuditRecord, bytes]]:
    """Yield the records among audit objects, with their content, by key; ``audit_chain.verify`` reports malformed ones."""
    for key, content in sorted(objects.items()):
        if not key.endswith(SEAL):
            with suppress(ContractError):
                yield from_json(AuditRecord, content), content


class PublicKeyError(ValueError):
    """The content is not the public key of a unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A P-256 key that verifies seals.

    Args:
        der: SubjectPublicKeyInfo, as returned by GetPublicKey of KMS:
            https://docs.aws.amazon.com/kms/latest/APIReference/API_GetPublicKey.html

    Raises:
        PublicKeyError: If it is not a key, or a key of another curve.
    """

    der: bytes

    def __post_init__(self) -> None:
        """Validate the key."""
        if not report_signature.is_key(self.der):
            raise PublicKeyError(f"a unit's key is an elliptic curve key on P-256, got {len(self.der)} other bytes")

    @classmethod
    def from_pem(cls, text: str) -> "PublicKey":
        """Read a PEM file, as ``mlops audit export`` writes it.

        Raises:
            PublicKeyError: If it is not a PEM file of a P-256 key.
        """
        body = text.strip()
        if not (body.startswith(_BEGIN) and body.endswith(_END)):
            raise PublicKeyError(f"a public key begins with {_BEGIN} and ends with {_END}")
        inner = "".join(body.removeprefix(_BEGIN).removesuffix(_END).split())
        try:
            return cls(der=base64.b64decode(inner, validate=True))
        except binascii.Error as error:
            raise PublicKeyError(f"the content between {_BEGIN} and {_END} is not base64: {error}") from error

    @property
    def pem(self) -> str:
        """The key as a PEM file."""
        text = base64.b64encode(self.der).decode()
        lines = [text[start : start + 64] for start in range(0, len(text), 64)]
        return "\n".join([_BEGIN, *lines, _END, ""])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key's DER encoding, for comparison by people."""
        return hashlib.sha256(self.der).hexdigest()

    def is_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature of a message is valid: ECDSA with SHA-256, in DER."""
        return _verify(self.der, signature, message)


@lru_cache(maxsize=65536)
def _verify(der: bytes, signature: bytes, message: bytes) -> bool:
    """Verify with a cache: each seal is stored twice, with its record and published."""
    return report_signature.verify_p256(der, signature, message)
