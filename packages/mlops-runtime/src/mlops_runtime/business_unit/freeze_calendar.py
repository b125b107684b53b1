"""Freeze calendars: declarations are converted to UTC, so that functions need no time zone data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mlops_runtime.contracts.unit_entries import FreezeSpec, FreezeWindow

_MAXIMUM_NAME = 64
_ZONE_OR_OFFSET = "give an offset such as '2026-11-20T00:00+01:00', or time_zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A period without model changes, from ``start`` to ``end`` (exclusive).

    Args:
        name: Its name in messages, such as ``black friday 2026``.
        start: ISO 8601 date or time, such as ``2026-11-20`` or ``2026-11-20T18:00+01:00``.
        end: ISO 8601 date or time.
        time_zone: Time zone of both, such as ``Europe/Berlin``. Default: both have a UTC offset.

    Example:
        >>> Freeze(name="stocktaking", start="2027-01-04", end="2027-01-06", time_zone="Europe/Berlin").name
        'stocktaking'
    """

    name: str
    start: str
    end: str
    time_zone: str | None = None

    @classmethod
    def yearly(
        cls, *, name: str, years: Sequence[int], start: str, end: str, time_zone: str | None = None
    ) -> tuple["Freeze", ...]:
        """Return one freeze per year, such as a peak season. An ``end`` that is not after ``start`` is in the next year.

        Args:
            name: Its name, to which the year is appended.
            years: The years in which it starts.
            start: Month and day, optionally with a time of day, such as ``11-15``.
            end: Month and day, such as ``01-02``; that day is not frozen.
            time_zone: Time zone of both. Default: both have a UTC offset.

        Example:
            >>> [f.end for f in Freeze.yearly(name="peak", years=[2026, 2027], start="11-15", end="01-02")]
            ['2027-01-02', '2028-01-02']
        """
        return tuple(
            cls(
                name=f"{name} {year}",
                start=f"{year:04d}-{start}",
                end=f"{year if end > start else year + 1:04d}-{end}",
                time_zone=time_zone,
            )
            for year in years
        )


def read_freezes(freezes: Sequence[Freeze]) -> tuple[FreezeSpec, list[str]]:
    """Return the calendar in UTC, sorted by time, and all problems of the declaration; the calendar is valid without problems."""
    problems: list[str] = []
    windows = [window for freeze in freezes if (window := _window(freeze, problems)) is not None]
    names = [freeze.name for freeze in freezes]
    problems += [
        f"name must be given once, got {name!r} twice" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    windows.sort(key=lambda window: (window.start, window.end))
    problems += _overlaps(windows)
    return FreezeSpec(windows=tuple(windows)), problems


def _window(freeze: Freeze, problems: list[str]) -> FreezeWindow | None:
    if not 0 < len(freeze.name.strip()) <= _MAXIMUM_NAME or not freeze.name.isprintable():
        problems.append(f"name must be 1 to {_MAXIMUM_NAME} printable characters, got {freeze.name!r}")
    before = len(problems)
    zone = _zone(freeze, problems)
    if len(problems) > before:
        return None
    start = _instant(freeze, "start", freeze.start, zone, problems)
    end = _instant(freeze, "end", freeze.end, zone, problems)
    if start is None or end is None:
        return None
    if end <= start:
        problems.append(f"{freeze.name!r}: end must be after start {freeze.start!r}, got {freeze.end!r}")
        return None
    return FreezeWindow(name=freeze.name, start=start, end=end)


def _zone(freeze: Freeze, problems: list[str]) -> ZoneInfo | None:
    if freeze.time_zone is None:
        return None
    try:
        return ZoneInfo(freeze.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the name of a folder of zones raises OSError
        problems.append(
            f"{freeze.name!r}: time_zone must be a name of the IANA database such as 'Europe/Berlin', got {freeze.time_zone!r}"
        )
        return None


def _instant(freeze: Freeze, field: str, text: str, zone: ZoneInfo | None, problems: list[str]) -> datetime | None:
    where = f"{freeze.name!r}: {field}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        problems.append(f"{where} must be an ISO 8601 date or time such as '2026-11-20T00:00+01:00', got {text!r}")
        return None
    if moment.tzinfo is None and zone is None:
        problems.append(f"{where} must have a time zone or an offset, got {text!r}; {_ZONE_OR_OFFSET}")
        return None
    if moment.tzinfo is not None and zone is not None:
        problems.append(f"{where} must have an offset or a time_zone, got both: {text!r} and {freeze.time_zone!r}")
        return None
    try:
        first, second = (moment.replace(tzinfo=zone or moment.tzinfo, fold=fold).astimezone(UTC) for fold in (0, 1))
    except OverflowError:
        problems.append(f"{where} must be in the years 1 to 9999 in UTC, got {text!r}")
        return None
    if first != second:
        # skipped or repeated by a change of daylight saving time
        # https://docs.python.org/3/library/datetime.html#datetime.datetime.fold
        problems.append(
            f"{where} {text!r} does not exist or is ambiguous in {freeze.time_zone}; give an offset instead of time_zone"
        )
        return None
    return first


def _overlaps(windows: Sequence[FreezeWindow]) -> list[str]:
    found, reaching = [], windows[:1]
    for window in windows[1:]:
        if window.start < reaching[0].end:
            found.append(f"{reaching[0].name!r} and {window.name!r} must not overlap; join them or move one")
        reaching = [max(reaching[0], window, key=lambda w: w.end)]
    return found
