"""Audit chain of an endpoint or unit: append records with the row that names the newest, and verify the chain.

Each record has the previous one's hash; none may be missing, duplicated or earlier than it.
"""

import hashlib
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.passport import Passport, passport_key
from mlops_runtime.contracts.rollout import (
    SEAL,
    AuditRecord,
    AuditSeal,
    LivePointer,
    LockRow,
    TakenBack,
    audit_key,
    published_key,
    seal_key,
)
from mlops_runtime.contracts.unit_entries import PauseState
from mlops_runtime.refused_calls import CONDITION_FAILED, Tolerated
from mlops_runtime.rollout.kept_minutes import beside, broken_minutes
from mlops_runtime.rollout.passport import broken_passports, sign_passport
from mlops_runtime.rollout.rollout_table import RolloutTable, next_promoted
from mlops_runtime.rollout.seals import IsSigned, Sealer, broken_seals

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

logger = logging.getLogger(__name__)

T = TypeVar("T")

GENESIS = "0" * 64  # what the first record follows
ATTEMPTS = 8  # against other writers of the same chain: a rollout and a rejection at most
LOOK_BACK = 10  # records in which a retry searches for its own
_AT_ONCE = 8  # objects read concurrently


def last_record(row: LockRow) -> AuditRecord | None:
    """Return the record at a row's head; None before the first record, or if the stored record does not match the row's head."""
    if row.audit_last is None:
        return None
    try:
        record = from_json(AuditRecord, row.audit_last)
    except ContractError:
        return None
    named = (row.endpoint, row.audit_sequence, row.audit_head)
    return record if (record.endpoint, record.sequence, content_hash(record)) == named else None


def not_before(record: AuditRecord, earlier: AuditRecord | None) -> AuditRecord:
    """Return the record with a time not before the previous record's: two executions may end at almost the same time."""
    before, now = (None if earlier is None else time_of(earlier)), time_of(record)
    if earlier is None or before is None or now is None or now >= before:
        return record
    return replace(record, at=earlier.at)


class AuditError(Exception):
    """A record cannot be appended to the chain; the message states the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The next record, and the attributes of the row that change with it; see ``RolloutTable.move_head``."""

    record: AuditRecord
    live: LivePointer | None = None
    owner: str | None = None
    pause: PauseState | None = None
    taken_back: tuple[TakenBack, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedRecord:
    """Sequence and hash of a record that a newer record refers to."""

    sequence: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPart:
    """Problems of the records from ``first`` on; ``rest`` is the newest unchecked record, None if all are checked."""

    problems: tuple[str, ...]
    first: int
    rest: LinkedRecord | None


@dataclass(frozen=True, slots=True)
class _Span:
    """Range of sequences, inclusive; None is unbounded."""

    first: int | None = None
    last: int | None = None


_WHOLE = _Span()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChain:
    """The chain of immutable audit objects of an endpoint or a unit, and its head in the row.

    Args:
        s3: Client.
        bucket: Audit bucket.
        table: The row.
        heads: Bucket in which heads are published.
        sealer: Signs records. Default: the chain is read-only.
    """

    s3: "S3Client"
    bucket: str
    table: RolloutTable
    heads: str
    sealer: Sealer | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], client: Callable[[str], Any]) -> "AuditChain":
        """Return an endpoint's writable chain from the environment variables of a function.

        Args:
            environment: With ``AUDIT_BUCKET``, ``ENDPOINT``, ``HEADS_BUCKET``, ``ROLLOUT_TABLE`` and ``SIGNING_KEY``.
            client: Returns the boto3 client of a service name.
        """
        return cls(
            s3=client("s3"),
            bucket=environment["AUDIT_BUCKET"],
            table=RolloutTable(client("dynamodb"), environment["ROLLOUT_TABLE"], environment["ENDPOINT"]),
            heads=environment["HEADS_BUCKET"],
            sealer=Sealer(kms=client("kms"), key=environment["SIGNING_KEY"]),
        )

    def write(self, record: AuditRecord, seal: AuditSeal | None) -> None:
        """Write a record and its seal if they are missing, and publish the seal as the chain's head.

        Other content under a record's key is overwritten, and remains as an older version of the object.
        """
        digest = content_hash(record)
        self._put(audit_key(record.endpoint, record.sequence, digest), canonical_json(record))
        if seal is None:
            return
        content = canonical_json(seal)
        self._put(seal_key(seal.endpoint, seal.sequence, seal.sha256), content)
        key = published_key(seal.endpoint, seal.sequence, seal.sha256)
        if not self._put_new(self.heads, key, content):
            logger.error("s3://%s/%s is published with other content", self.heads, key)

    def append(self, decide: Callable[[LockRow], Move | T]) -> AuditRecord | T:
        """Append a record that is decided on the row's state at the time of writing; its time is not before the last record's.

        Args:
            decide: Called with the row, again after each write of others. Returns the move to write, or a value to return instead.

        Returns:
            The new record, or the other value.

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
                raise AuditError(f"the audit chain of {self.table.endpoint} is read-only: it was opened without a key")
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
        """Return up to ``count`` records that end at the row's head, oldest first; fewer if one is missing or changed.

        They are read by the hashes that lead back from the head, so other objects in the bucket have no effect.
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

    def record_of(self, execution: str) -> AuditRecord | None:
        """Return the record that an execution wrote, if it is among the newest."""
        row = self.table.read()
        last = last_record(row)
        if last is None or last.execution == execution:
            return last
        return next((record for record in self.newest(row, LOOK_BACK) if record.execution == execution), None)

    def problems(self, is_signed: IsSigned | None = None) -> list[str]:
        """Verify the whole chain, and return its problems.

        Args:
            is_signed: Returns whether the unit's key made a seal's signature. Default: signatures are not checked.
        """
        return list(self.part(is_signed, until=None, size=sys.maxsize).problems)

    def part(self, is_signed: IsSigned | None, *, until: LinkedRecord | None, size: int) -> ChainPart:
        """Verify a part of the chain, newest records first, from the hash of the part's last record.

        Adjacent parts share one record, so that times are compared across them. The newest part is read again if it has problems,
        until two reads have the same head: a writer moves the row before it writes the object.

        Args:
            is_signed: Returns whether the unit's key made a seal's signature. None: signatures are not checked.
            until: End of the part of newer records (``ChainPart.rest``). None: the newest records, from the row's head.
            size: Maximum number of records, at least 2.
        """
        seen = None
        for _ in range(ATTEMPTS):
            row = self.table.read()
            found = self._part(row, is_signed, until, size)
            if not found.problems or until is not None or row.audit_sequence == seen:
                break
            seen = row.audit_sequence
        return found

    def _part(self, row: LockRow, is_signed: IsSigned | None, until: LinkedRecord | None, size: int) -> ChainPart:
        last = row.audit_sequence if until is None else until.sequence
        first = max(1, last - size + 1)
        span = _Span(first=first if first > 1 else None, last=None if until is None else last)
        if until is not None:
            row = replace(row, audit_sequence=until.sequence, audit_head=until.sha256)
        objects = self.contents(span)
        problems = self._problems(row, objects, is_signed, span)
        if first == 1:
            return ChainPart(problems=tuple(problems), first=first, rest=None)
        start = audit_key(self.table.endpoint, first, "")[: -len(".json")]
        found = [hashlib.sha256(c).hexdigest() for k, c in objects.items() if k.startswith(start) and SEAL not in k]
        if len(found) != 1:
            problems.append(
                f"records before sequence {first} were not checked: the hash of their last record is unknown"
            )
            return ChainPart(problems=tuple(problems), first=first, rest=None)
        return ChainPart(problems=tuple(problems), first=first, rest=LinkedRecord(sequence=first, sha256=found[0]))

    def _problems(
        self, row: LockRow, objects: Mapping[str, bytes], is_signed: IsSigned | None, span: _Span
    ) -> list[str]:
        problems = verify(
            objects, endpoint=row.endpoint, head=row.audit_head, sequence=row.audit_sequence, first=span.first or 1
        )
        if is_signed is None:
            return problems
        problems += broken_seals(objects, self.published(span), row=row, is_signed=is_signed)
        problems += broken_passports(objects, self.passports(span), is_signed=is_signed)
        return problems + broken_minutes(objects, self.minutes(span))

    def contents(self, span: _Span = _WHOLE) -> dict[str, bytes]:
        """Return the chain's records and seals by key."""
        return self._all(self.bucket, f"audit/{self.table.endpoint}/", span)

    def passports(self, span: _Span = _WHOLE) -> dict[str, bytes]:
        """Return the passports of the chain's promotions by key."""
        return self._all(self.bucket, f"passports/{self.table.endpoint}/", span)

    def minutes(self, span: _Span = _WHOLE) -> dict[str, bytes]:
        """Return the minutes of the chain's verdicts by key."""
        return self._all(self.bucket, f"minutes/{self.table.endpoint}/", span)

    def keep_minutes(self, record: AuditRecord, content: bytes | None) -> AuditRecord:
        """Write the minutes of a record's verdict to the audit bucket, and return the record with their URI.

        Args:
            record: With its sequence in the chain.
            content: The minutes; None if they cannot be read, which leaves the record unchanged.
        """
        named = beside(record, self.bucket)
        if content is None or named.verdict is None:
            return record
        self._put_new(self.bucket, named.verdict.minutes_uri.removeprefix(f"s3://{self.bucket}/"), content)
        return named

    def write_passport(self, passport: Passport) -> str:
        """Sign and write a passport, before the record that names it; return its hash.

        Raises:
            AuditError: If the chain was opened without a key.
        """
        if self.sealer is None:
            raise AuditError(f"the audit chain of {self.table.endpoint} is read-only: it was opened without a key")
        digest = content_hash(passport)
        key = passport_key(passport.endpoint, passport.sequence, digest)
        # an existing object has another signature of the same passport
        self._put_new(self.bucket, key, canonical_json(sign_passport(passport, self.sealer)))
        return digest

    def published(self, span: _Span = _WHOLE) -> dict[str, bytes]:
        """Return the published heads by key."""
        return self._all(self.heads, f"heads/{self.table.endpoint}/", span)

    def _write_last(self, row: LockRow) -> AuditRecord | None:
        """Write objects that an interrupted writer may have left out, and return the record at the head."""
        last = last_record(row)
        if last is not None:
            self.write(last, _seal_of(row))
        elif row.audit_sequence:
            logger.error("the record stored in the row of %s does not match the row's head", row.endpoint)
        return last

    def _put(self, key: str, content: bytes) -> None:
        if not self._put_new(self.bucket, key, content):
            logger.error("s3://%s/%s had other content than the chain; it is overwritten", self.bucket, key)
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=content, ContentType="application/json")

    def _put_new(self, bucket: str, key: str, content: bytes) -> bool:
        """Write an object unless it exists; False if it exists with other content."""
        with Tolerated(*CONDITION_FAILED):
            self.s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/json", IfNoneMatch="*")
            return True
        return self._read(bucket, key) == content

    def _all(self, bucket: str, prefix: str, span: _Span) -> dict[str, bytes]:
        """Return objects by key; each key below a prefix begins with its sequence in eight digits."""
        after = prefix[:-1] if span.first is None else f"{prefix}{span.first:08d}"
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, StartAfter=after)
        listed = (entry["Key"] for page in pages for entry in page.get("Contents", []))
        end = None if span.last is None else f"{prefix}{span.last + 1:08d}"
        keys = list(takewhile(lambda key: end is None or key < end, listed))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(keys, pool.map(partial(self._read, bucket), keys), strict=True))

    def _read(self, bucket: str, key: str) -> bytes:
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def read_record(s3: "S3Client", bucket: str, key: str, digest: str) -> AuditRecord | None:
    """Return the record of a key; None if it is missing or has another hash.

    Args:
        s3: Client.
        bucket: Audit bucket.
        key: Key, from ``audit_key``.
        digest: Expected hash of the record.
    """
    found = None
    with Tolerated("NoSuchKey"), suppress(ContractError):
        found = from_json(AuditRecord, s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    if found is None or content_hash(found) != digest:
        logger.error("s3://%s/%s is not the record that the chain's head leads to", bucket, key)
        return None
    return found


def _seal_of(row: LockRow) -> AuditSeal | None:
    try:
        seal = None if row.audit_seal is None else from_json(AuditSeal, row.audit_seal)
    except ContractError:
        return None
    named = (row.endpoint, row.audit_sequence, row.audit_head)
    return seal if seal is not None and (seal.endpoint, seal.sequence, seal.sha256) == named else None


def verify(objects: Mapping[str, bytes], *, endpoint: str, head: str, sequence: int, first: int = 1) -> list[str]:
    """Return the problems of a chain; empty if it is complete.

    Args:
        objects: Content of each audit object by key; seals are ignored, see ``seals.broken_seals``.
        endpoint: Endpoint or unit of the chain.
        head: Hash of the newest record, from the endpoint's row.
        sequence: Sequence of the newest record, from the row.
        first: Sequence of the first record among the objects. Default: 1, the first of the chain.
    """
    problems: list[str] = []
    records: dict[str, AuditRecord] = {}  # by hash
    for key, content in sorted(objects.items()):
        if key.endswith(SEAL):
            continue
        try:
            record = from_json(AuditRecord, content)
        except ContractError as error:
            problems.append(f"{key} is changed: {error}")
            continue
        digest = hashlib.sha256(content).hexdigest()
        if key != audit_key(endpoint, record.sequence, digest) or record.endpoint != endpoint:
            problems.append(
                f"{key} is changed: its content belongs to {audit_key(record.endpoint, record.sequence, digest)}"
            )
            continue
        records[digest] = record
    numbers = Counter(record.sequence for record in records.values())
    problems += [
        f"sequence {number} is forked: {count} records" for number, count in sorted(numbers.items()) if count > 1
    ]
    problems += [f"sequence {number} is missing" for number in range(first, sequence + 1) if number not in numbers]
    problems += [f"sequence {number} is before the first" for number in sorted(numbers) if number < 1]
    problems += [f"sequence {number} is past the head at {sequence}" for number in sorted(numbers) if number > sequence]
    return problems + _broken_links(records, head, sequence, first) + _backward_times(records.values())


def _broken_links(records: Mapping[str, AuditRecord], head: str, sequence: int, first: int) -> list[str]:
    expected = head
    for number in range(sequence, first - 1, -1):
        record = records.get(expected)
        if record is None:
            return [f"sequence {number} does not have the hash {expected[:16]} that follows from the head"]
        if record.sequence != number:
            return [f"reordered: the record after sequence {number} follows sequence {record.sequence}"]
        expected = record.previous
    return [] if first > 1 or expected == GENESIS else [f"the first record follows {expected[:16]}, not the beginning"]


def _backward_times(records: Iterable[AuditRecord]) -> list[str]:
    problems = []
    newest: datetime | None = None
    for record in sorted(records, key=lambda record: record.sequence):
        time = time_of(record)
        if time is None or (newest is not None and time < newest):
            problems.append(f"sequence {record.sequence} is of {record.at}, earlier than a record before it")
        newest = time if newest is None else max(newest, time or newest)
    return problems


def time_of(record: AuditRecord) -> datetime | None:
    """Return the time of a record; None if it is invalid or has no time zone."""
    try:
        time = datetime.fromisoformat(record.at)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None
