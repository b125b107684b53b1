"""One wrong category: gate and golden requests reject the smallest; the whole campaign writes its section of the page."""

from pathlib import Path

import pytest
from tests.campaign.candidates import trained
from tests.campaign.candidates.catalogue import base
from tests.campaign.candidates.world import CHAMPION_WEEK, splits
from tests.campaign.segments.run import PAGE, SEED, Wrong, judged, out_of_bounds, results, run, section

WEEK = 36


def test_a_category_that_is_forgotten_is_refused() -> None:
    """The category has one store and eight rows, 0.06 % of the units: no interval shows it, and the good model passes."""
    champion = trained.fitted(splits(CHAMPION_WEEK).train, seed=7).pack()
    wrong = Wrong(week=WEEK, category="CONDIMENTS/SAUCES", factor=0.0).make()
    _, gate = judged(wrong, champion, splits(WEEK), WEEK)
    assert gate.verdict.value == "FAILED"
    assert gate.reason.startswith("predictions where category=CONDIMENTS/SAUCES sum to 0, the champion's to ")
    assert out_of_bounds(wrong) == ["categories"]
    good = base(WEEK, SEED).pack()
    _, passed = judged(good, champion, splits(WEEK), WEEK)
    assert passed.verdict.value == "PASSED"
    assert (
        "14 of 37 segments of category compared, none worse than allowed, 23 pooled and held to sums alone (8.9% of"
        in (passed.reason)
    )
    assert out_of_bounds(good) == []


def test_the_section_counts_what_passed_and_what_was_refused() -> None:
    """Counts by gate alone and with the bounds of golden requests; a challenger that is not good counts nowhere."""
    lines = [
        {"key": "1", "factor": 0.0, "week": 36, "share": 0.1, "gate": "PASSED", "golden": ["categories"]},
        {"key": "2", "factor": 0.0, "week": 36, "share": 0.2, "gate": "FAILED", "golden": []},
        {"key": "3", "is_good": True, "gate": "PASSED", "golden": []},
        {"key": "4", "is_good": False, "gate": "FAILED", "golden": []},
    ]
    text = section([("now", {str(line["key"]): line for line in lines})])
    assert "| one category times 0, passes the gate | 1 of 2, 10.0% of units |" in text
    assert "| one category times 0, passes the bounds of golden requests alone | 1 of 2, 20.0% of units |" in text
    assert "| one category times 0, passes the gate and bounds | 0 of 2, 0.0% of units |" in text
    assert "| good challengers refused by the gate | 0 of 1: 0.0% |" in text


@pytest.mark.campaign
def test_every_category_wrong_at_a_time(request: pytest.FixtureRequest) -> None:
    """Of all categories, at most 3 % of those that forecast nothing pass."""
    folder = Path(request.config.getoption("--campaign-dir", default=None) or PAGE.parents[1] / ".mlops" / "campaign")
    run(folder)
    wrong = [line for line in results(folder).values() if line.get("factor") == 0]
    passed = [line for line in wrong if line["gate"] == "PASSED" and not line["golden"]]
    assert len(passed) <= 0.03 * len(wrong)
