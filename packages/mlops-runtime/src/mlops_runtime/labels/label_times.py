"""Times at which labels became known, and how records of a call are merged: by row, the newest label.

Concurrent uploads need no lock: the merged labels do not depend on the order of writing and reading.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from mlops_runtime.contracts.capture import LabelTimes
from mlops_runtime.iso_time import with_offset

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BITS = 64

Stamps = int | tuple[int, ...]  # of each label of a record; a single int applies to all of them
L = TypeVar("L")


def stamp_of(known: datetime, written: datetime) -> int:
    """Return an int that orders labels by precedence: known later, or written later if both became known at the same time.

    Example:
        >>> noon, one = datetime(2017, 8, 7, 12, tzinfo=UTC), datetime(2017, 8, 7, 13, tzinfo=UTC)
        >>> stamp_of(noon, noon) < stamp_of(noon, one) < stamp_of(one, noon)
        True
    """
    return _microseconds(known) << _BITS | _microseconds(written)


def newer_stamp(now: datetime, earlier: int, *, known: datetime | None = None) -> int | None:
    """Return the stamp of a label that replaces another one; None if it became known before that one.

    Args:
        now: The time in the cloud. The later upload takes precedence even if the clock was set back, or in the same second.
        earlier: Stamp of the existing label.
        known: When the label became known. Default: now, but not before the existing one.
    """
    known_before, written_before = earlier >> _BITS, earlier & (1 << _BITS) - 1
    at = max(_microseconds(now), known_before) if known is None else _microseconds(known)
    if at < known_before:
        return None
    written = _microseconds(now)
    return at << _BITS | (max(written, written_before + 1) if at == known_before else written)


def is_known_later(stamp: int, than: int) -> bool:
    """Return whether a label became known later than another one, regardless of when they were written."""
    return stamp >> _BITS > than >> _BITS


def label_times(stamps: Sequence[int]) -> LabelTimes:
    """Return the times of labels in the form of a record; 0 is the stamp of a row without a label.

    Example:
        >>> noon = datetime(2017, 8, 7, 12, tzinfo=UTC)
        >>> label_times([stamp_of(noon, noon)] * 2).known, label_times([stamp_of(noon, noon), 0]).known
        (('2017-08-07T12:00:00+00:00',), ('2017-08-07T12:00:00+00:00', ''))
    """
    of = stamps if len(set(stamps)) > 1 else stamps[:1]
    return LabelTimes(
        known=tuple(_time(stamp >> _BITS) for stamp in of),
        written=tuple(_time(stamp & (1 << _BITS) - 1) for stamp in of),
    )


def stamps_of(times: Any, rows: int) -> Stamps | None:
    """Return the stamps of a record's labels; None if it has no valid times, as in records of other programs.

    Example:
        >>> stamps_of({"known": ["2017-08-07T12:00:00"], "written": ["noon"]}, 1) is stamps_of(None, 1) is None
        True
    """
    try:
        known, written = times["known"], times["written"]
        if len(known) != len(written) or len(known) not in (1, rows):
            return None
        found = tuple(_stamp(*pair) for pair in zip(known, written, strict=True))
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    return found[0] if len(found) == 1 else found


def merged(
    first: tuple[Sequence[L | None], Stamps], second: tuple[Sequence[L | None], Stamps]
) -> tuple[Sequence[L | None], Stamps]:
    """Merge the labels of a call from two records, and their stamps: for each row the newer label; a missing one removes none.

    The record with the newest label determines the number of rows, so that it can correct a record with too many.

    Args:
        first: Labels and their stamps.
        second: Those of a record that was read later, which takes precedence for equal stamps.

    Example:
        >>> merged(((1.0, None), 7), ((None, 2.0), 8))
        ((1.0, 2.0), (7, 8))
        >>> merged(((1.0, 3.0), (9, 7)), ((2.0, 2.0), 8))
        ((1.0, 2.0), (9, 8))
    """
    (_, old_stamps), (_, new_stamps) = first, second
    rows = len((second if _newest(new_stamps) >= _newest(old_stamps) else first)[0])
    labels: list[L | None] = []
    stamps: list[int] = []
    for row in range(rows):
        (before, old), (label, new) = _of_row(first, row), _of_row(second, row)
        is_second = label is not None and (before is None or new >= old)
        labels.append(label if is_second else before)
        stamps.append(new if is_second else old)
    return tuple(labels), tuple(stamps) if len(set(stamps)) > 1 else stamps[0]


def every_row(labels: Sequence[object], stamps: Stamps) -> list[int]:
    """Return the stamp of each row, 0 for rows without a label."""
    each = stamps if isinstance(stamps, tuple) else (stamps,) * len(labels)
    return [0 if label is None else stamp for label, stamp in zip(labels, each, strict=True)]


def _newest(stamps: Stamps) -> int:
    return max(stamps) if isinstance(stamps, tuple) else stamps


def _of_row(record: tuple[Sequence[L | None], Stamps], row: int) -> tuple[L | None, int]:
    labels, stamps = record
    if row >= len(labels):
        return None, 0
    return labels[row], stamps[row] if isinstance(stamps, tuple) else stamps


def _stamp(known: Any, written: Any) -> int:
    if not known and not written:
        return 0
    return stamp_of(datetime.fromisoformat(known), datetime.fromisoformat(written))


def _microseconds(at: datetime) -> int:
    return max(0, (with_offset(at) - _EPOCH) // _MICROSECOND)


def _time(microseconds: int) -> str:
    return (_EPOCH + microseconds * _MICROSECOND).isoformat() if microseconds else ""
