"""The cells of the campaign, and its report."""

from tests.campaign.lifecycle.cells import CASES, CREATE, DELETE, cells, sample
from tests.campaign.lifecycle.report import section

RESOURCES = {"Key": {"Type": "AWS::KMS::Key"}, "Queue": {"Type": "AWS::SQS::Queue"}}


def test_each_resource_fails_in_each_operation() -> None:
    """Two resources and three operations; a sample is deterministic and has creations first."""
    every = cells("First", "production", RESOURCES)
    assert [cell.key for cell in every[:2]] == ["First/production/create/Key", "First/production/create/Queue"]
    assert len({cell.key for cell in every}) == len(RESOURCES) * len(CASES)
    chosen = sample(every, {CREATE: 1, DELETE: 5}, 3)
    assert chosen == sample(every, {CREATE: 1, DELETE: 5}, 3)
    assert [cell.case for cell in chosen] == [CREATE, DELETE, DELETE]


ONE = {"stack": "First", "profile": "production", "case": "create", "outcome": "ROLLBACK_COMPLETE", "seconds": 2.0, "kept": [],
       "at": "2026-11-28T03:00:00+00:00", "problems": [], "key": "First/production/create/Key", "of": 6, "calls": 4,
       "longest": 0.012}  # fmt: skip


def test_the_report_counts_outcomes_and_names_what_broke() -> None:
    """The report has one line per stack, profile and case."""
    text = section([ONE, {**ONE, "key": "k", "problems": ["left"]}], load=1.0)
    assert "| First | production | create | 2 | 2 ROLLBACK_COMPLETE | 2.0 | 1 |" in text
    assert "2 of 6 cells" in text
    assert "called 8 times: the longest call took 1.2% of its ServiceTimeout" in text
    assert "- `k`: left" in text
    assert "No cell broke the invariant." in section([ONE], load=1.0)


def test_the_report_names_what_a_rollback_left() -> None:
    """The report counts leftovers of failed rollbacks only, most frequent first."""
    failed = {**ONE, "outcome": "ROLLBACK_FAILED", "kept": ["Audit", "Key"]}
    text = section([failed, {**failed, "kept": ["Key"]}, ONE], load=1.0)
    assert "with the number of cells: `Key` (2), `Audit` (1)." in text
    assert "could not delete" not in section([ONE], load=1.0)
