"""Merging the records of a call does not depend on the order of reading."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts import to_dict
from mlops_runtime.labels.label_times import (
    every_row,
    is_known_later,
    label_times,
    merged,
    newer_stamp,
    stamp_of,
    stamps_of,
)

NOON = datetime(2017, 8, 7, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RECORDS = st.lists(
    st.lists(st.one_of(st.none(), st.integers(1, 9)), min_size=3, max_size=3), min_size=1, max_size=6
).map(lambda records: [(tuple(labels), stamp_of(NOON + place * HOUR, NOON)) for place, labels in enumerate(records)])


@given(RECORDS, st.randoms())
def test_no_order_changes_what_records_say(records: list[Any], random: Any) -> None:
    """Each row gets its newest label, regardless of the record that was read first."""
    labels, stamps = reduce(merged, records)
    shuffled = random.sample(records, len(records))
    again, stamps_again = reduce(merged, shuffled)
    assert (labels, every_row(labels, stamps)) == (again, every_row(again, stamps_again))
    for row in range(3):
        of_row = [each[row] for each, _ in records if each[row] is not None]
        assert labels[row] == (of_row[-1] if of_row else None)


def test_a_record_with_too_many_rows_is_put_right_by_a_newer_one() -> None:
    """Both orders of reading are tested."""
    wrong, right = ((1, 2, 3), stamp_of(NOON, NOON)), ((1, 2), stamp_of(NOON + HOUR, NOON))
    assert merged(wrong, right)[0] == merged(right, wrong)[0] == (1, 2)


def test_times_are_read_as_they_were_written() -> None:
    """Times are exact to the microsecond, for one row and for several."""
    early, late = stamp_of(NOON, NOON + timedelta(microseconds=7)), stamp_of(NOON + HOUR, NOON)
    for stamps in ([early, 0, late], [early, early, early], [late]):
        times = label_times(stamps)
        found = stamps_of(to_dict(times), len(stamps))
        assert found is not None
        assert every_row([stamp or None for stamp in stamps], found) == stamps


@pytest.mark.parametrize(
    "times",
    [None, [], 7, {"known": ["2017-08-07"]}, {"known": ["x"], "written": ["x"]}, {"known": [7], "written": [7]}]
    + [{"known": ["2017-08-07"] * rows, "written": ["2017-08-07"] * rows} for rows in (0, 2)],
)
def test_times_that_nobody_can_read_are_none(times: object) -> None:
    """Labels without a readable time became known at the upload."""
    assert stamps_of(times, 3) is None


def test_a_label_that_is_put_now_counts_more_than_what_is_there() -> None:
    """This holds in the same second and after a clock was set back, unless the label became known before."""
    there = stamp_of(NOON + HOUR, NOON + HOUR)
    for now in (NOON, NOON + HOUR, NOON + 2 * HOUR):
        stamp = newer_stamp(now, there)
        assert stamp is not None
        assert stamp > there
        assert is_known_later(stamp, there) == (now > NOON + HOUR)
    assert newer_stamp(NOON + 2 * HOUR, there, known=NOON) is None
