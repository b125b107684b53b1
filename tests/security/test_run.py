"""All attacks: ``pytest -m campaign tests/security [--campaign-dir FOLDER]``; completed attempts are kept."""

from pathlib import Path

import pytest
from tests.security.report import section, summary, through
from tests.security.run import main

ROWS = [
    {"key": "a/r/t", "kind": "K", "role": "a/r", "of": 4, "denied": ["s:A", "s:B"], "others": {"s:C": "made"}, "at": "1"},
    {"key": "a/q/t", "kind": "K", "role": "a/q", "of": 4, "denied": ["s:A", "s:B", "s:C"], "others": {}, "at": "2"},
    {"key": "escalations/a", "escalations": 7, "through": [], "at": "3"},
    {"key": "controls/a", "ways": {}, "at": "4", "controls": [
        ["K", "s:A", "made"], ["K", "s:B", "denied"], ["K", "s:C", "NotFound"],
    ]},
]  # fmt: skip


def test_only_what_a_control_shows_valid_is_counted() -> None:
    """Calls denied to the administrator too prove nothing; calls not denied to a role are listed."""
    assert +summary(ROWS)["K"] == {
        "attempts": 4,
        "made by the administrator": 2,
        "not shown valid": 2,
        "through": 1,
    }
    assert through(ROWS) == ["a/r/t s:C: made"]
    page = section(ROWS, load=1.0)
    assert "**4 attempts of 2 roles count, 1 succeeded**" in page
    assert "- a/r/t s:C: made" in page
    assert "2 of 4 pairs" in page


@pytest.mark.campaign
def test_every_attack(request: pytest.FixtureRequest) -> None:
    """At least a thousand valid attempts between the units are all denied."""
    root = Path(request.config.rootpath)
    rows = main(Path(request.config.getoption("--campaign-dir", default=None) or root / ".mlops" / "campaign"), 240)
    assert through(rows) == []
    assert sum(found["attempts"] for found in summary(rows).values()) >= 1000
