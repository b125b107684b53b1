"""Announcements of synthetic calls: an execution announces its own calls in advance, and only announced calls are excluded."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mlops_runtime.contracts.capture import ANNOUNCED_SECONDS, nonce_of
from mlops_runtime.iso_time import parse_time

# whether a call of this inference id at this time (ISO 8601) was announced
IsAnnounced = Callable[[str, str], bool]

_KEY = re.compile(r"(\d{4}/\d\d/\d\d/\d\d)/(\d{4})-(\d{1,6})-([0-9a-f]{32})\.json")
_HOUR = "%Y/%m/%d/%H"
# times in captures are truncated to seconds
_BEFORE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Announcement:
    """Announced calls: time of the announcement, maximum number of calls, and the nonce at the end of their ids."""

    at: datetime
    calls: int
    nonce: str


def never_announced(inference_id: str, time: str) -> bool:
    """Return False: the lookup without announcements."""
    del inference_id, time
    return False


def read_announcement(tail: str) -> Announcement | None:
    """Parse the part of an announcement's key after the endpoint's prefix; None for any other key.

    Example:
        >>> read_announcement("2017/08/01/09/3000-5-00000000000000000000000000000000.json").calls
        5
    """
    found = _KEY.fullmatch(tail)
    if found is None:
        return None
    try:
        at = datetime.strptime(f"{found[1]}{found[2]}", f"{_HOUR}%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return Announcement(at, int(found[3]), found[4])


class Announcements:
    """Looks up announcements by hour, only for calls whose ids look synthetic.

    Args:
        read: Returns the announcements of an hour, ``yyyy/mm/dd/hh`` in UTC.
    """

    def __init__(self, read: Callable[[str], Iterable[Announcement]]) -> None:
        self._read = read
        self._hours: dict[str, dict[str, datetime]] = {}

    def __call__(self, inference_id: str, time: str) -> bool:
        """Return whether a call was announced at most an hour before it; False for a call without a time."""
        nonce = nonce_of(inference_id)
        if nonce is None or not time:
            return False
        at = parse_time(time)
        for hour in (at, at - timedelta(hours=1)):
            announced = self._of(f"{hour.astimezone(UTC):{_HOUR}}").get(nonce)
            if announced is not None:
                return -_BEFORE <= at - announced <= timedelta(seconds=ANNOUNCED_SECONDS)
        return False

    def _of(self, hour: str) -> dict[str, datetime]:
        if hour not in self._hours:
            self._hours[hour] = {found.nonce: found.at for found in self._read(hour)}
        return self._hours[hour]
