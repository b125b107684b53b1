"""When rollouts ran whose model was taken back: what it answered is captured with the live model's calls, and is nobody's."""

import json
from collections.abc import Sequence

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome, TakenBack

_KEPT = 50  # that a row keeps: windows are of hours to weeks
# "2017-08-08T11:41:54": capture files carry no more
_SECOND = 19


def taken_back(row: LockRow) -> tuple[TakenBack, ...]:
    """Return the newest rollouts that were taken back, oldest first.

    Args:
        row: The endpoint's.

    Example:
        >>> taken_back(LockRow(endpoint="demand-forecast"))
        ()
    """
    return tuple(from_dict(TakenBack, each) for each in json.loads(row.taken_back or "[]"))


def next_taken_back(row: LockRow, record: AuditRecord) -> tuple[TakenBack, ...] | None:
    """Return the newest rollouts that were taken back, with the one that a record ends; None where it ends none.

    Args:
        row: The endpoint's, with the lock of the execution that the record is of.
        record: What came of it.
    """
    if record.outcome not in (Outcome.ROLLED_BACK, Outcome.FAILED) or row.locked_at is None:
        return None
    return (*taken_back(row), TakenBack(since=row.locked_at, until=record.at))[-_KEPT:]


def is_among(first: str, last: str, times: Sequence[TakenBack]) -> bool:
    """Return whether calls may be of a model that was taken back: the first or the last of them, or what lies between.

    Args:
        first: Time of the first call (ISO 8601, UTC); empty where it is not known, and then no call is.
        last: Time of the last one.
        times: When such rollouts ran, both ends included.

    Example:
        >>> times = (TakenBack(since="2017-08-08T10:00:00Z", until="2017-08-08T10:20:00Z"),)
        >>> is_among("2017-08-08T09:00:00Z", "2017-08-08T10:05:00Z", times)
        True
        >>> is_among("2017-08-08T10:21:00Z", "2017-08-08T11:00:00Z", times)
        False
    """
    return bool(first) and any(
        each.since[:_SECOND] <= last[:_SECOND] and first[:_SECOND] <= each.until[:_SECOND] for each in times
    )
