"""Captured responses with status 200: recognising numbers, and when responses without numbers stop a rollout."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from mlops_runtime.rollout.answer_bodies import by_minute, is_readable, judge_bodies
from mlops_runtime.rollout.live_history import Counts

START = datetime(2017, 8, 1, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def output(data: str, encoding: str = "JSON", kind: str = "application/json") -> dict[str, Any]:
    """Return one side of a capture record."""
    return {"observedContentType": kind, "mode": "OUTPUT", "encoding": encoding, "data": data}


def record(at: str, data: str) -> dict[str, Any]:
    """Return a capture record."""
    return {"captureData": {"endpointOutput": output(data)}, "eventMetadata": {"eventId": "e", "inferenceTime": at}}


@pytest.mark.parametrize(
    "side",
    [
        output('{"predictions": [1.5, 2]}'),
        output('{"predictions": [[0.1, 0.9], [0.5, 0.5]]}'),
        output('{"predictions": [{"score": 0.25}]}'),
        output('{"predictions": ["cat"]}'),
        output("1.5\n2.5", "CSV", "text/csv"),
        output(base64.b64encode(b"1.5").decode(), "BASE64", "text/csv"),
    ],
)
def test_numbers_are_read_in_every_form_that_monitors_read(side: dict[str, Any]) -> None:
    """Class names are recognised too."""
    assert is_readable(side)


@pytest.mark.parametrize(
    "side",
    [
        output('{"error": "CUDA out of memory"}'),
        output('{"predictions": []}'),
        output('{"predictions": [null]}'),
        output('{"predictions": [NaN]}'),
        output('{"predictions": [[]]}'),
        output('{"predictions": [true]}'),
        output("Internal Server Error", "CSV", "text/csv"),
        output(base64.b64encode(b"<html>502</html>").decode(), "BASE64", "text/html"),
        output("!", "BASE64", "application/json"),
        output("", "CSV", "text/csv"),
        {},
    ],
)
def test_a_body_without_numbers_is_none(side: dict[str, Any]) -> None:
    """Whatever its status was."""
    assert not is_readable(side)


def test_answers_are_counted_by_the_minute_of_their_call() -> None:
    """A record without an output or a time is not counted."""
    lines = [
        record("2017-08-01T09:00:01Z", '{"predictions": [1]}'),
        record("2017-08-01T09:00:59Z", "{}"),
        record("2017-08-01T09:01:00Z", '{"predictions": [1]}'),
        record("yesterday", "{}"),
        {"captureData": {}, "eventMetadata": {"inferenceTime": "2017-08-01T09:00:01Z"}},
    ]
    assert by_minute(lines) == {START: Counts(calls=2, failed=1), START + MINUTE: Counts(calls=1)}


def made(rate: int, share: float, *, before: float = 0.0, turns: int = 3, minutes: int = 20) -> dict[datetime, Counts]:
    """Return an hour of responses before a rollout, and those since; a share lacks numbers from a given minute."""
    counts = {START - number * MINUTE: Counts(calls=rate, failed=round(rate * before)) for number in range(1, 61)}
    for number in range(minutes):
        now = share if number >= turns else before
        counts[START + number * MINUTE] = Counts(calls=rate, failed=round(rate * now))
    return counts


@pytest.mark.parametrize("rate", [10, 60, 6000])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_fleet_that_turns_is_stopped_at_any_share_of_the_traffic(rate: int, share: float) -> None:
    """Also at ten calls a minute with one for the new fleet."""
    found = judge_bodies(made(rate, share), since=START, false_alarm=0.01)
    assert found.is_stopped
    assert found.sentence.startswith("after 20 minutes: ")
    assert "captured answers had no readable numbers, 0 of " in found.sentence


def test_answers_that_never_had_numbers_speak_against_nobody() -> None:
    """If no monitor could read the responses before the rollout, they are no evidence."""
    found = judge_bodies(made(60, 1.0, before=1.0), since=START, false_alarm=0.01)
    assert not found.is_stopped
    assert judge_bodies({}, since=START, false_alarm=0.01).sentence == (
        "0 of 0 captured answers had no readable numbers, 0 of 0 before it"
    )


def test_fleets_like_before_are_stopped_at_most_as_often_as_is_tolerated() -> None:
    """2,000 rollouts of twenty minutes with one response in two hundred without numbers, before and after."""
    random, stopped = np.random.default_rng(16), 0
    for _ in range(2000):
        draws = random.binomial(60, 0.005, 80)
        counts = {START + (n - 60) * MINUTE: Counts(calls=60, failed=int(x)) for n, x in enumerate(draws)}
        stopped += judge_bodies(counts, since=START, false_alarm=0.01).is_stopped
    assert stopped <= 30
