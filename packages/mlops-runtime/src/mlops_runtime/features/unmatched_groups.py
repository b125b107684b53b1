"""Warnings about groups without a matching row for any entity row of a training set, with the cause."""

from collections.abc import Sequence

import pyarrow as pa

from mlops_runtime.features.join_plans import Semantics
from mlops_runtime.features.point_in_time import GroupRows, joined


class UnmatchedGroupWarning(UserWarning):
    """All features of a group are null in a training set."""


def unmatched_groups(
    rows: pa.Table, timestamp: str, groups: Sequence[GroupRows], matched: Sequence[int], semantics: Semantics
) -> tuple[str, ...]:
    """Return a warning for each group without a match for any entity row, with the cause and the fix.

    Args:
        rows: The entity rows.
        timestamp: Their time column.
        groups: The joined groups.
        matched: Number of entity rows that matched a row of each group.
        semantics: Time from which a value is visible.

    Example:
        >>> from datetime import UTC, datetime
        >>> day = lambda number: datetime(2017, 1, number, tzinfo=UTC)
        >>> rows = pa.table({"store_id": ["1"], "at": [day(4)]})
        >>> late = pa.table({"store_id": ["1"], "event_time": [day(2)], "created_time": [day(9)], "ingest_id": ["a"], "units": [7]})
        >>> stock = GroupRows(name="stock", entities=("store_id",), columns=("units",), ttl=None, rows=late)
        >>> print(unmatched_groups(rows, "at", [stock], [0], "known_at")[0].partition(";")[0])
        no entity row matched a row of group stock: 1 of 1 would by event time, but the feature rows became known later
    """
    if not rows.num_rows:
        return ()
    empty = [group for group, count in zip(groups, matched, strict=True) if not count]
    by_event = (
        joined(rows, timestamp, empty, semantics="event_time").matched if semantics == "known_at" else [0] * len(empty)
    )
    return tuple(_sentence(group, late, rows.num_rows) for group, late in zip(empty, by_event, strict=True))


def _sentence(group: GroupRows, late: int, count: int) -> str:
    begin = f"no entity row matched a row of group {group.name}"
    if late:
        return (
            f"{begin}: {late} of {count} would by event time, but the feature rows became known later; "
            "load history by backfill, with the time at which each row could first be known (created_time), "
            "or use semantics='event_time'"
        )
    keys = ", ".join(group.key_columns.values())
    alive = "" if group.ttl is None else f", or are older than its time to live of {group.ttl}"
    return f"{begin}: its rows have other values of {keys}, begin after the requested times{alive}; compare both"
