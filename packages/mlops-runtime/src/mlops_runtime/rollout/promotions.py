"""Index of promoted containers and the golden requests that each passed.

The endpoint's row stores sequence and hash of the newest promotion of each container. It only locates the record; the facts are
read from the record with that hash.
"""

import json
from collections.abc import Callable

from mlops_runtime.contracts import content_hash, from_dict, from_json
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome, Promoted, ServingSpec

KEPT = 50  # containers in a row, newest promotion last; a rollback can go no further back


def promoted(row: LockRow) -> tuple[Promoted, ...]:
    """Return the locations of promotion records, the newest of each container, oldest first.

    Example:
        >>> promoted(LockRow(endpoint="demand-forecast"))
        ()
    """
    return tuple(from_dict(Promoted, each) for each in json.loads(row.promoted or "[]"))


def next_promoted(row: LockRow, record: AuditRecord) -> tuple[Promoted, ...] | None:
    """Return the promotions of a row with that of a record added; None if the record is not a promotion."""
    if record.outcome is not Outcome.PROMOTED or record.container_sha256 is None:
        return None
    new = Promoted(container_sha256=record.container_sha256, sequence=record.sequence, sha256=content_hash(record))
    return (*(e for e in promoted(row) if e.container_sha256 != new.container_sha256), new)[-KEPT:]


def promotion(
    row: LockRow, container_sha256: str, read: Callable[[int, str], AuditRecord | None]
) -> AuditRecord | None:
    """Return the newest record of the promotion of a container; None without one.

    Args:
        row: The endpoint's row.
        container_sha256: Hash of the package's container, regardless of the package version.
        read: Returns the record of a sequence and a hash; None if no record has that hash.
    """
    place = next((each for each in promoted(row) if each.container_sha256 == container_sha256), None)
    record = None if place is None else _at(row, place) or read(place.sequence, place.sha256)
    if record is None or record.outcome is not Outcome.PROMOTED or record.container_sha256 != container_sha256:
        return None
    return record if record.endpoint == row.endpoint else None


def _at(row: LockRow, place: Promoted) -> AuditRecord | None:
    """Return the record from the row, since the newest record's object may not be written yet."""
    if row.audit_last is None or row.audit_head != place.sha256:
        return None
    record = from_json(AuditRecord, row.audit_last)
    return record if content_hash(record) == place.sha256 else None


def golden_sha256(spec: ServingSpec) -> str | None:
    """Return the hash of a spec's golden set with its limits; None without one."""
    return None if spec.rollout.golden is None else content_hash(spec.rollout.golden)
