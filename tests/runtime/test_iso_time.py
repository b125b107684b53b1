"""A time without a UTC offset is in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.iso_time import parse_time, with_offset

EAST = timezone(timedelta(hours=2))


@given(st.datetimes(min_value=datetime(1, 1, 2), timezones=st.sampled_from([None, UTC, EAST])))
def test_a_string_has_the_time_that_was_written(time: datetime) -> None:
    """A time with an offset keeps it; without one, it is the same time of day in UTC."""
    read = parse_time(time.isoformat())
    assert read == with_offset(time)
    assert (read.utcoffset(), read.replace(tzinfo=None)) == (
        time.utcoffset() or timedelta(0),
        time.replace(tzinfo=None),
    )


def test_what_is_not_a_time_is_refused() -> None:
    """By ``ValueError``, which callers translate."""
    with pytest.raises(ValueError, match="yesterday"):
        parse_time("yesterday")
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00"):
        with pytest.raises(ValueError, match="is outside of the years 1 to 9999 in UTC"):
            parse_time(text)
