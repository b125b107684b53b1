"""Operations on the audit log of an endpoint or unit: list records, show one with its evidence, verify the chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_runtime.business_unit.deployed_chain import open_chain, public_key_of
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.console.http_message import Call, RefusedRequestError
from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.rollout import AuditRecord
from mlops_runtime.registry.package_approval import person_of
from mlops_runtime.rollout.audit_chain import LinkedRecord
from mlops_runtime.rollout.kept_minutes import MinutesError, read_bytes, read_minutes

_NEWEST = 50
_PART = 200  # records checked per request: 600 to 1,000 objects, with one S3 call each


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedRecord:
    """A record with its SHA-256 and the name of its requester."""

    record: AuditRecord
    sha256: str
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """The newest records of a chain, newest first; copies are verified against ``head`` and ``sequence``.

    ``missing`` is the sequence of a missing or changed record, before which no record can be shown; null if all are intact.
    """

    now: datetime
    name: str
    head: str
    sequence: int
    bucket: str
    records: tuple[HashedRecord, ...]
    missing: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPage:
    """One record. ``minutes`` are those from which its verdict was computed, ``computed`` is the verdict recomputed from them.

    ``unread`` is why the minutes are not shown; empty if they are, or if no fleets were compared.
    """

    now: datetime
    record: HashedRecord
    minutes: Mapping[str, Any] | None
    computed: str | None
    unread: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether a chain is intact: every changed, missing, reordered, forked, forged or unsigned record is a finding.

    Long chains are checked in parts, newest first: ``records`` is the number of records checked, from ``first`` on, of ``total``.
    Request older ones with ``rest``, which is null for the last part. A chain is intact if all parts are.
    """

    now: datetime
    name: str
    is_whole: bool
    records: int
    findings: tuple[str, ...]
    key: str
    first: int
    total: int
    rest: LinkedRecord | None


def records(call: Call) -> AuditPage:
    """Return the newest records of a chain."""
    name = call.names["name"]
    chain = open_chain(call.cloud.client, Entries(ssm=call.cloud.client("ssm")).chain(name))
    row = chain.table.read()
    found = chain.newest(row, _NEWEST)
    is_cut = len(found) < min(_NEWEST, row.audit_sequence)
    return AuditPage(
        now=call.now,
        name=name,
        head=row.audit_head,
        sequence=row.audit_sequence,
        bucket=chain.bucket,
        records=tuple(map(_hashed, reversed(found))),
        missing=row.audit_sequence - len(found) if is_cut else None,
    )


def record(call: Call) -> RecordPage:
    """Return one record with the evidence of its verdict.

    Raises:
        RefusedRequestError: If the record does not exist or cannot be read.
    """
    name, sequence = call.names["name"], int(call.names["number"])
    chain = open_chain(call.cloud.client, Entries(ssm=call.cloud.client("ssm")).chain(name))
    row = chain.table.read()
    found = chain.newest(row, row.audit_sequence - sequence + 1) if sequence <= row.audit_sequence else []
    if not found or found[0].sequence != sequence:
        raise RefusedRequestError(404, f"{name} has no record {sequence} that can be read; verify the chain")
    minutes, unread = None, ""
    if found[0].verdict is not None:
        try:
            minutes = read_minutes(read_bytes(chain.s3, found[0].verdict))
        except MinutesError as error:
            unread = str(error)
    return RecordPage(
        now=call.now,
        record=_hashed(found[0]),
        minutes=None if minutes is None else minutes.document,
        computed=None if minutes is None else minutes.sentence(),
        unread=unread,
    )


def verify(call: Call) -> Verification:
    """Verify a chain, or the next part of a long one, with its public key."""
    name, (sequence, _, sha256) = call.names["name"], call.query.get("until", "").partition("-")
    until = LinkedRecord(sequence=int(sequence), sha256=sha256) if sequence else None
    entry = Entries(ssm=call.cloud.client("ssm")).chain(name)
    chain, key = open_chain(call.cloud.client, entry), public_key_of(call.cloud.client, entry)
    found = chain.part(key.is_signed, until=until, size=_PART)
    total = chain.table.read().audit_sequence
    return Verification(
        now=call.now,
        name=name,
        is_whole=not found.problems,
        records=(total if until is None else until.sequence) - found.first + 1,
        findings=found.problems,
        key=key.fingerprint,
        first=found.first,
        total=total,
        rest=found.rest,
    )


def _hashed(found: AuditRecord) -> HashedRecord:
    return HashedRecord(record=found, sha256=content_hash(found), who=person_of(found.requested_by))
