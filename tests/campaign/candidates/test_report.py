"""The page: intervals, and the replaced section."""

from pathlib import Path

import pytest
from scipy.stats import binomtest
from tests.campaign.candidates import report
from tests.campaign.candidates.catalogue import bad_ones


@pytest.mark.parametrize(("hits", "of"), [(0, 100), (7, 264), (120, 120), (1, 3)])
def test_intervals_are_wilsons(hits: int, of: int) -> None:
    """Intervals equal scipy's."""
    expected = binomtest(hits, of).proportion_ci(method="wilson")
    assert report.wilson(hits, of) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_only_its_own_section_is_replaced(tmp_path: Path) -> None:
    """Other campaigns' sections before and after stay."""
    page = tmp_path / "campaign.md"
    page.write_text(f"# Campaigns\n\nfaults\n\n{report.BEGIN}\nold\n{report.END}\n\nmore\n")
    report.write(page, f"{report.BEGIN}\nnew\n{report.END}\n")
    assert page.read_text() == f"# Campaigns\n\nfaults\n\n{report.BEGIN}\nnew\n{report.END}\n\nmore\n"


def test_a_new_page_gets_a_title(tmp_path: Path) -> None:
    """A new page gets a title; a folder without results is reported as such."""
    page = tmp_path / "campaign.md"
    report.write(page, report.section(tmp_path, date="2026-11-24", command="pytest", load="no load"))
    text = page.read_text()
    assert text.startswith(f"# Campaigns\n\n{report.BEGIN}\n")
    assert f"0 of {len(list(bad_ones()))} bad candidates" in text


@pytest.mark.parametrize(
    ("layer", "rolled", "expected"),
    [
        ("gate", None, "gate"),
        (None, None, None),
        (None, {"promoted": True}, None),
        (None, {"promoted": False}, "canary"),
    ],
)
def test_what_was_not_rolled_out_counts_as_promoted(layer: str, rolled: dict, expected: str) -> None:
    """A candidate that was not rolled out counts as promoted."""
    assert report.layer_of({"layer": layer}, rolled) == expected
