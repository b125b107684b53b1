"""Times: one without a UTC offset is in UTC, wherever it comes from."""

from datetime import UTC, datetime


def parse_time(text: str) -> datetime:
    """Return the time of an ISO 8601 string.

    Raises:
        ValueError: If it is not one, or is outside of the years 1 to 9999 in UTC.

    Example:
        >>> [parse_time(each).isoformat() for each in ("2017-08-01", "2017-08-01T09:00:00.000Z", "2017-08-01T09:00+02:00")]
        ['2017-08-01T00:00:00+00:00', '2017-08-01T09:00:00+00:00', '2017-08-01T09:00:00+02:00']
    """
    found = with_offset(datetime.fromisoformat(text))
    try:
        found.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is outside of the years 1 to 9999 in UTC") from None
    return found


def with_offset(time: datetime) -> datetime:
    """Return a time with its UTC offset."""
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
