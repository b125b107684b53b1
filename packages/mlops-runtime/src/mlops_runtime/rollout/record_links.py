"""Verification of an audit chain: each record has the previous one's hash; none is missing, duplicated or earlier than it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.rollout import SEAL, AuditRecord, audit_key

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedRecord:
    """Sequence and hash of a record that a newer record refers to."""

    sequence: int
    sha256: str


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
