"""The campaign of images that turn: every combination once, and a section with the check that stopped each."""

from tests.campaign.turning.run import BY, SLOTS, WHAT, cells, section


def test_every_way_is_there_once() -> None:
    """Both responses by each of the four triggers, at seeded amounts."""
    found = [amount.split("/") for _, amount in cells()]
    assert [(what, by) for what, by, _ in found] == [(what, by) for what in WHAT for by in BY]
    assert list(cells()) == list(cells())
    assert all(BY[by][0] <= int(number) <= BY[by][1] for _, by, number in found)


def test_the_section_names_what_found_each() -> None:
    """Nothing found an image that stayed live."""
    row = {"outcome": "ROLLED_BACK", "kept": True, "seconds": 9.0}
    rows = [
        {**row, "cell": "constant/calls/25", "reason": "golden requests, sent again: 1 of 1"},
        {
            **row,
            "cell": "error/time/3",
            "reason": "stopped after 3 minutes: 9 of 9 captured answers had no readable numbers",
        },
        {**row, "cell": "error/calls/9", "reason": "approved", "kept": False, "outcome": "PROMOTED"},
    ]
    text = section(rows)
    assert "2 of 3 images" in text
    assert "| `constant/calls/25` | ROLLED_BACK | golden requests | 9.0 |" in text
    assert "| `error/time/3` | ROLLED_BACK | captures | 9.0 |" in text
    assert "| `error/calls/9` | PROMOTED | nothing | 9.0 |" in text


def test_slots_have_a_section_of_their_own() -> None:
    """Between slots a candidate is called where it serves, so it may be found before it has traffic."""
    row = {"outcome": "REFUSED", "kept": True, "seconds": 9.0, "cell": "error/time/3"}
    text = section([{**row, "reason": "golden requests: 1 of 1 golden requests failed"}], SLOTS)
    assert text.startswith("<!-- turning-slots: begin -->")
    assert "`python -m tests.campaign.turning.run .mlops/campaign slots`" in text
    assert "| `error/time/3` | REFUSED | golden requests before it had traffic | 9.0 |" in text
