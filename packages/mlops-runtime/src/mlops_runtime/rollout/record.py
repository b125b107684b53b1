"""Adapter of ``audit``: appends to the chain and moves the live pointer with it.

The row's conditional write comes first and carries the record; the object follows. A writer that dies between the two leaves a
row that says what to write, and whoever comes next writes it before anything else. So there is one object a sequence, in every
order of crashes and retries. The row carries the seal too, as a second signature of one record would be another one.

What others put into row or buckets stops no record: it is logged here and found by ``mlops audit verify``.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.automation import PauseState
from mlops_runtime.contracts.passport import Passport, passport_key
from mlops_runtime.contracts.rollout import (
    AuditRecord,
    AuditSeal,
    LivePointer,
    LockRow,
    Outcome,
    TakenBack,
    audit_key,
    published_key,
    seal_key,
)
from mlops_runtime.eks.gather import SlotReader
from mlops_runtime.eks.serving import serving as read_slots
from mlops_runtime.registry.package import PackageError, RegisteredPackage, read_package
from mlops_runtime.rollout.audit import (
    Claim,
    died_of,
    is_same,
    last_record,
    next_live,
    next_record,
    not_before,
    verify,
    without_died,
)
from mlops_runtime.rollout.passport import broken_passports, passport_of, read_gate, sign_passport
from mlops_runtime.rollout.promotions import next_promoted
from mlops_runtime.rollout.seals import IsSigned, Sealer, broken_seals
from mlops_runtime.rollout.serving import Serving, read_description, read_serving
from mlops_runtime.rollout.table import RolloutTable
from mlops_runtime.rollout.taken_back import next_taken_back

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 8  # against other writers of the same chain: a rollout and a rejection at most
LOOK_BACK = 10  # records among which a retry finds its own


class AuditError(Exception):
    """The chain cannot be appended to; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A record that follows a row's head, and what moves with it; see ``RolloutTable.move_head``."""

    record: AuditRecord
    live: LivePointer | None = None
    owner: str | None = None
    pause: PauseState | None = None
    taken_back: tuple[TakenBack, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChain:
    """One endpoint's, or one unit's, chain of immutable objects and its head in the row.

    Args:
        s3: Client.
        bucket: Audit bucket.
        table: The row.
        heads: Bucket in which heads are published.
        sealer: Signs records. Default: the chain is only read.
    """

    s3: "S3Client"
    bucket: str
    table: RolloutTable
    heads: str
    sealer: Sealer | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], client: Callable[[str], Any]) -> "AuditChain":
        """Return an endpoint's chain, open for writing, from the environment that constructs give to functions.

        Args:
            environment: With ``AUDIT_BUCKET``, ``ENDPOINT``, ``HEADS_BUCKET``, ``ROLLOUT_TABLE`` and ``SIGNING_KEY``.
            client: Gives a boto3 client by service name.
        """
        return cls(
            s3=client("s3"),
            bucket=environment["AUDIT_BUCKET"],
            table=RolloutTable(client("dynamodb"), environment["ROLLOUT_TABLE"], environment["ENDPOINT"]),
            heads=environment["HEADS_BUCKET"],
            sealer=Sealer(kms=client("kms"), key=environment["SIGNING_KEY"]),
        )

    def write(self, record: AuditRecord, seal: AuditSeal | None) -> None:
        """Write a record's object, its seal beside it, and publish the seal as the chain's head; what is there stays.

        Another content in a record's own place is an older version of its object from then on.
        """
        digest = content_hash(record)
        self._put(audit_key(record.endpoint, record.sequence, digest), canonical_json(record))
        if seal is None:
            return
        content = canonical_json(seal)
        self._put(seal_key(seal.endpoint, seal.sequence, seal.sha256), content)
        key = published_key(seal.endpoint, seal.sequence, seal.sha256)
        if not self._put_new(self.heads, key, content):
            logger.error("s3://%s/%s is published with another content", self.heads, key)

    def append(self, decide: Callable[[LockRow], Move | T]) -> AuditRecord | T:
        """Append what is decided on the row as it stands at the moment of writing; its time is not before the last record's.

        Args:
            decide: Gets the row, again after every move of another writer. Answers with what follows; anything else that it
                answers with is returned, and nothing is written.

        Returns:
            The new record, or the other answer.

        Raises:
            AuditError: If other writers kept moving the head, or the chain was opened without a key.
        """
        for _ in range(ATTEMPTS):
            row = self.table.read()
            last = self._write_last(row)
            decided = decide(row)
            if not isinstance(decided, Move):
                return decided
            if self.sealer is None:
                raise AuditError(f"the audit chain of {self.table.endpoint} is open for reading: no key to sign with")
            new = not_before(decided.record, last)
            seal = self.sealer.seal(new)
            moved = self.table.move_head(
                row,
                new,
                seal.sha256,
                decided.live,
                decided.owner,
                seal=seal,
                pause=decided.pause,
                taken_back=decided.taken_back,
                promoted=next_promoted(row, new),
            )
            if moved:
                self.write(new, seal)
                return new
        raise AuditError(f"the audit chain of {self.table.endpoint} moved {ATTEMPTS} times while it was appended to")

    def newest(self, row: LockRow, count: int) -> list[AuditRecord]:
        """Return up to ``count`` records that end at the row's head, oldest first; fewer where one is missing or changed.

        They are found by the hashes that follow from the head, so that nothing else in the bucket matters.
        """
        found: list[AuditRecord] = []
        digest, record = row.audit_head, last_record(row)
        for sequence in range(row.audit_sequence, max(0, row.audit_sequence - count), -1):
            record = record or read_record(
                self.s3, self.bucket, audit_key(self.table.endpoint, sequence, digest), digest
            )
            if record is None:
                break
            found.append(record)
            digest, record = record.previous, None
        return found[::-1]

    def problems(self, is_signed: IsSigned | None = None) -> list[str]:
        """Return what is wrong with the whole chain.

        Args:
            is_signed: Whether a seal's signature is the unit's key's. Default: signatures are not looked at.
        """
        row, objects = self.table.read(), self.contents()
        problems = verify(objects, endpoint=row.endpoint, head=row.audit_head, sequence=row.audit_sequence)
        if is_signed is None:
            return problems
        problems += broken_seals(objects, self.published(), row=row, is_signed=is_signed)
        return problems + broken_passports(objects, self.passports(), is_signed=is_signed)

    def contents(self) -> dict[str, bytes]:
        """Return the chain's objects by key: records and their seals."""
        return self._all(self.bucket, f"audit/{self.table.endpoint}/")

    def passports(self) -> dict[str, bytes]:
        """Return the passports of the chain's promotions by key."""
        return self._all(self.bucket, f"passports/{self.table.endpoint}/")

    def write_passport(self, passport: Passport) -> str:
        """Sign and write a passport, before the record that names it; return its hash.

        Raises:
            AuditError: If the chain was opened without a key.
        """
        if self.sealer is None:
            raise AuditError(f"the audit chain of {self.table.endpoint} is open for reading: no key to sign with")
        digest = content_hash(passport)
        key = passport_key(passport.endpoint, passport.sequence, digest)
        # one that is there already has another signature of the same passport
        self._put_new(self.bucket, key, canonical_json(sign_passport(passport, self.sealer)))
        return digest

    def published(self) -> dict[str, bytes]:
        """Return the published heads by key."""
        return self._all(self.heads, f"heads/{self.table.endpoint}/")

    def _write_last(self, row: LockRow) -> AuditRecord | None:
        """Write what a writer that died may have left out, and return the record at the head."""
        last = last_record(row)
        if last is not None:
            self.write(last, _seal_of(row))
        elif row.audit_sequence:
            logger.error("the row of %s does not carry the record that it names", row.endpoint)
        return last

    def _put(self, key: str, content: bytes) -> None:
        if not self._put_new(self.bucket, key, content):
            logger.error("s3://%s/%s held another content than the chain's", self.bucket, key)
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=content, ContentType="application/json")

    def _put_new(self, bucket: str, key: str, content: bytes) -> bool:
        """Write an object that is not there yet; False if another content is there."""
        try:
            self.s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/json", IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            return self._read(bucket, key) == content
        return True

    def _all(self, bucket: str, prefix: str) -> dict[str, bytes]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {entry["Key"]: self._read(bucket, entry["Key"]) for page in pages for entry in page.get("Contents", [])}

    def _read(self, bucket: str, key: str) -> bytes:
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def read_record(s3: "S3Client", bucket: str, key: str, digest: str) -> AuditRecord | None:
    """Return the record of a key, if it has the hash.

    Args:
        s3: Client.
        bucket: Audit bucket.
        key: As ``audit_key`` gives it.
        digest: Hash of the record.
    """
    try:
        found: AuditRecord | None = from_json(AuditRecord, s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ContractError:
        found = None
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        found = None
    if found is None or content_hash(found) != digest:
        logger.error("s3://%s/%s is not the record that follows from the head", bucket, key)
        return None
    return found


def _seal_of(row: LockRow) -> AuditSeal | None:
    try:
        seal = None if row.audit_seal is None else from_json(AuditSeal, row.audit_seal)
    except ContractError:
        return None
    named = (row.endpoint, row.audit_sequence, row.audit_head)
    return seal if seal is not None and (seal.endpoint, seal.sequence, seal.sha256) == named else None


def record(
    claim: Claim, *, sagemaker: "SageMakerClient", chain: AuditChain, slots: SlotReader | None = None
) -> dict[str, Any]:
    """Append what came of an execution, once, and move the live pointer to what serves.

    The pointer moves only for the execution that holds the lock, and never for a rejection, which has no rollout.

    Args:
        claim: What the execution says.
        sagemaker: Client.
        chain: The endpoint's chain and row.
        slots: Where the endpoint's slots are, if it is served on EKS. Default: SageMaker serves it.

    Returns:
        ``{"sequence", "serving_config", "outcome"}`` of the record.

    Raises:
        AuditError: If other writers kept moving the head.
    """
    serving = read_serving(sagemaker, chain.table.endpoint) if slots is None else read_slots(slots.read())
    description = _described(sagemaker, serving)
    package = _package(description)

    def follow(row: LockRow) -> Move | AuditRecord:
        newest = chain.newest(row, LOOK_BACK)
        for earlier in newest:
            if is_same(earlier, claim, serving):
                return earlier
        died = died_of(claim)
        is_told = died is not None and any(earlier.execution == died.execution for earlier in newest)
        new = next_record(row, without_died(claim) if is_told else claim, serving, package)
        new = not_before(new, last_record(row))
        if new.outcome is Outcome.PROMOTED:
            passport = passport_of(
                new,
                package,
                description,
                read_gate(chain.s3, description),
                machine_sha256=claim.machine_sha256,
            )
            new = replace(new, passport_sha256=chain.write_passport(passport))
        moves = claim.outcome is not Outcome.REJECTED and row.owner == claim.execution
        live = next_live(row, claim, serving, package) if moves else None
        return Move(
            record=new,
            live=live,
            owner=claim.execution if moves else None,
            taken_back=next_taken_back(row, new) if moves else None,
        )

    return _answer(chain.append(follow))


def _answer(written: AuditRecord) -> dict[str, Any]:
    return {
        "sequence": written.sequence,
        "serving_config": written.serving_config,
        "outcome": written.outcome.value,
    }


def _described(sagemaker: "SageMakerClient", serving: Serving | None) -> Mapping[str, Any]:
    """Return the description of what serves, empty where it has no package."""
    if serving is None or serving.version is None or serving.version.package is None:
        return {}
    return read_description(sagemaker, serving.version.package) or {}


def _package(description: Mapping[str, Any]) -> RegisteredPackage | None:
    try:
        return read_package(description) if description else None
    except PackageError:
        return None  # an unusable package has no baseline to point at
