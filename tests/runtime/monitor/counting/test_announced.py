"""Inference ids that executions announced, and the hours of the announcements."""

from datetime import UTC, datetime, timedelta

import pytest

from mlops_runtime.contracts.capture import announcement_key, announcement_prefix, synthetic_id
from mlops_runtime.monitor.counting.announced import Announcement, Announcements, never_announced, read_announcement

AT = datetime(2017, 8, 7, 9, 59, 30, tzinfo=UTC)
NONCE, OTHER = "a" * 32, "b" * 32


class Hours:
    """Announcements by hour; records the hours that were requested."""

    def __init__(self, *announcements: Announcement) -> None:
        self.announcements, self.read = announcements, list[str]()

    def __call__(self, hour: str) -> list[Announcement]:
        """Return the announcements of an hour."""
        self.read.append(hour)
        return [each for each in self.announcements if f"{each.at:%Y/%m/%d/%H}" == hour]


@pytest.mark.parametrize(
    ("seconds", "is_announced"), [(-2, False), (-1, True), (0, True), (60, True), (3600, True), (3601, False)]
)
def test_a_call_comes_within_an_hour_of_its_announcement(seconds: int, is_announced: bool) -> None:
    """Accepts a call from a second before its announcement to an hour after it, also in the next hour."""
    announced = Announcements(Hours(Announcement(AT, 5, NONCE)))
    time = (AT + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    assert announced(synthetic_id(3, NONCE), time) is is_announced


@pytest.mark.parametrize(
    "inference_id",
    [
        synthetic_id(3, OTHER),
        f"mlops-synthetic-{NONCE}",
        "mlops-synthetic-1-29174fbf3e2370f6",
        f"{synthetic_id(3, NONCE)}x",
        f"x{synthetic_id(3, NONCE)}",
        NONCE,
    ],
)
def test_an_id_that_only_looks_alike_is_nobodys(inference_id: str) -> None:
    """Rejects an id with an unannounced nonce or without a nonce."""
    assert not Announcements(Hours(Announcement(AT, 5, NONCE)))(inference_id, "2017-08-07T10:00:00Z")


def test_a_call_without_a_time_was_not_announced() -> None:
    """Rejects a call without a time, and every call where nothing was announced."""
    announced = Announcements(Hours(Announcement(AT, 5, NONCE)))
    assert not announced(synthetic_id(1, NONCE), "")
    assert not never_announced(synthetic_id(1, NONCE), "2017-08-07T10:00:00Z")


def test_an_hour_is_read_once_and_only_where_an_id_asks_for_it() -> None:
    """Reads an hour once, and only for a call with such an id, however many calls there are."""
    hours = Hours(Announcement(AT, 5, NONCE))
    announced = Announcements(hours)
    for number in range(100):
        announced(synthetic_id(number, OTHER), "2017-08-07T10:30:00Z")
        announced("mine", "2017-08-07T12:00:00Z")
    assert hours.read == ["2017/08/07/10", "2017/08/07/09"]


def test_a_key_says_all() -> None:
    """Keys are read back as they were written; other keys announce nothing."""
    key = announcement_key("demand-forecast", AT, 301, NONCE).removeprefix(announcement_prefix("demand-forecast"))
    assert read_announcement(key) == Announcement(AT, 301, NONCE)
    for other in ("", key[1:], f"{key}x", key.replace(NONCE, "A" * 32), key.replace("/09/5930", "/09/5990")):
        assert read_announcement(other) is None
