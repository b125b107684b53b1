"""Hostile requests to API and console; ``python -m tests.campaign.hostile.run FOLDER`` sends all of them and resumes."""

from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from tests.campaign.hostile import bodies, forms, run
from tests.campaign.hostile.forms import Sound
from tests.campaign.hostile.judge import Door
from tests.campaign.hostile.wire import Attack, Reply

DOOR = Door(name="gateway", address=("127.0.0.1", 1), secrets=(b"arn:aws",), of_the_account=(b"000000000000",))
ASKED = Attack(kind="body", raw=b"POST / HTTP/1.1")


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("door", list(run.OPEN))
def test_no_hostile_request_reaches_what_it_must_not(door: str, tmp_path: Path) -> None:
    """Two batches of each list reach neither the model nor stored data."""
    assert run.main(tmp_path, doors=[door], most=2, on_page=tmp_path / "campaign.md") == 0


@pytest.mark.parametrize(
    ("reply", "faults"),
    [
        (Reply(400, {"content-type": "application/json"}, b'{"message": "no"}'), []),
        (Reply(502, {}, b""), ["answers 502"]),
        (Reply(400, {}, b"of arn:aws:iam::1:role/a"), ["says 'arn:aws'"]),
        (Reply(400, {"location": "arn:aws:s3:::b"}, b""), ["says 'arn:aws'"]),
        (Reply(403, {}, b"000000000000 may not"), ["says '000000000000'"]),
        (Reply(409, {}, b"000000000000 has changed it"), []),
        (Reply(400, {}, b'Traceback (most recent call last):\n File "a.py", line 3'), ["says where its code failed"]),
        (Reply(200, {"x-injected": "1"}, b""), ["lets a header in"]),
        (Reply(404, {"content-type": "text/html"}, b"<p>/x"), ["is a page, which may show what was sent"]),
    ],
)
def test_a_fault_is_named(reply: Reply, faults: list[str]) -> None:
    """Headers count too; an echo of the caller's own bytes is not a leak."""
    assert DOOR.faults(ASKED, [reply]) == faults
    assert DOOR.faults(Attack(kind="body", raw=b"arn:aws"), [Reply(400, {}, b"arn:aws is no path")]) == []
    assert DOOR.faults(ASKED, []) == ["closed without an answer"]


def test_a_model_that_was_reached_is_a_fault() -> None:
    """A call of the model is a fault, except one per response to a valid request in an unusual form."""
    sent = [(ASKED, [Reply(200, {}, b"{}")])]
    assert run.outcome(DOOR, "own", 0, sent, reached=1)["faults"] == ["reached: 1 times, 0 were sound"]
    assert run.outcome(DOOR, "odd", 0, sent, reached=1)["faults"] == []
    assert run.outcome(DOOR, "odd", 0, sent, reached=2)["faults"] == ["reached: 2 times, 1 were sound"]


def test_a_seed_repeats_its_requests() -> None:
    """Forms and bodies follow from the seed alone."""
    sound = Sound("POST", "/v1/models/a/predictions", {"host": "a", "content-type": "application/json"}, b'{"a": 1}')

    def made(seed: int) -> list[bytes]:
        chance = Random(seed)
        makes = (
            forms.doubled_header,
            forms.chunked,
            forms.other_version,
            forms.other_host,
            forms.other_method,
            forms.broken_header,
        )
        return [make(chance, sound).raw for make in makes for _ in range(9)] + [
            bodies.broken_json(chance, sound.body) for _ in range(9)
        ]

    assert made(7) == made(7) != made(8)


def test_the_page_counts_what_reached_the_model() -> None:
    """The page counts calls of the model, and shows the first faults."""
    row = run.outcome(DOOR, "own", 0, [(ASKED, [Reply(400, {}, b"")])], reached=0)
    bad = run.outcome(DOOR, "schemathesis", 0, [(ASKED, [Reply(500, {}, b"")])], reached=1)
    made = run.section([row, bad], datetime(2017, 1, 1, tzinfo=UTC), (3.0, 2.0, 1.0))

    assert "| hostile requests | 2 |" in made
    assert "| reached the model, or changed anything | 1 |" in made
    assert "| answered 5xx | 1 |" in made
    assert "A fault: reached: 1 times, 0 were sound" in made
