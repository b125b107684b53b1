"""The page on lead time: its sums equal its table's, and its rows have real states and sources of their durations."""

import re
from pathlib import Path

import pytest

from tools import lead_time

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page() -> str:
    """The page."""
    return str(lead_time.PAGE.read_text())


def test_the_sums_are_those_of_the_table(page: str) -> None:
    """Changing a row requires updating the sums."""
    assert lead_time.with_summary(page) == page
    assert page.count(" min | ") >= 5 * 6


def test_every_row_is_read(page: str) -> None:
    """A row that the script cannot parse would be missing in the sums."""
    table = page.partition("## Steps")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| part |")]
    steps = lead_time.read_steps(page)
    assert len(steps) == len(rows) > 20
    assert {step.part for step in steps} == set(lead_time.PATHS)


def test_bounds_are_in_order_and_have_a_source(page: str) -> None:
    """A source is a dated observation, a page of AWS, a dated measurement of ours, or marked as an estimate."""
    for step in lead_time.read_steps(page):
        assert 0 <= step.least <= step.likely <= step.most, step
        dated = re.search(r"\]\(https://github\.com/[^)]+\)[^|]*20\d\d-\d\d-\d\d", step.source)
        documented = "](https://docs.aws.amazon.com/" in step.source or "](https://aws.amazon.com/" in step.source
        ours = re.search(r"measured 20\d\d-\d\d-\d\d|our estimate|^ours|^the policy|^as `\w+`$", step.source)
        assert dated or documented or ours, step


def test_the_states_are_those_of_the_machines(page: str) -> None:
    """A renamed state must be renamed here too."""
    folders = {"Retrain": "retraining", "Deploy": "rollout", "After": "rollout"}
    for step in lead_time.read_steps(page):
        if step.part not in folders:
            continue
        files = (ROOT / "src/mlops_constructs" / folders[step.part]).glob("*.py")
        source = "".join(path.read_text() for path in files)
        for state in re.findall(r"`([A-Z]\w+)`", step.name):
            assert f'"{state}"' in source, state


def test_the_sums_themselves() -> None:
    """Bounds add up, percentiles are ordered between them, and a sum of exact durations is exact."""
    steps = [lead_time.Step("CI", str(n), 10, 20, 40, "") for n in range(4)]
    low, middle, high, within = lead_time.percentiles(steps)
    assert 40 < low < middle < high < 160
    # a triangular distribution's mean is that of its three points
    assert middle == pytest.approx(4 * (10 + 20 + 40) / 3, rel=0.02)
    assert within == 1.0
    assert lead_time.percentiles(steps) == (low, middle, high, within)
    sure = [lead_time.Step("Deploy", "bake", 8000, 8000, 8000, "")]
    assert lead_time.percentiles(sure) == (8000, 8000, 8000, 0.0)
    assert "| approval to full traffic | 133 min | 133 min | 133 min |" in lead_time.summary(sure)
