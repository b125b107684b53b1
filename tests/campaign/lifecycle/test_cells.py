"""The cells of the campaign, and its report."""

from tests.campaign.lifecycle.cells import CASES, CREATE, DELETE, cells, sample
from tests.campaign.lifecycle.report import section

RESOURCES = {"Key": {"Type": "AWS::KMS::Key"}, "Queue": {"Type": "AWS::SQS::Queue"}}


def test_each_resource_fails_in_each_operation() -> None:
    """Two resources, three operations; a sample is the same each time and has creations first."""
    every = cells("First", "production", RESOURCES)
    assert [cell.key for cell in every[:2]] == ["First/production/create/Key", "First/production/create/Queue"]
    assert len({cell.key for cell in every}) == len(RESOURCES) * len(CASES)
    chosen = sample(every, {CREATE: 1, DELETE: 5}, 3)
    assert chosen == sample(every, {CREATE: 1, DELETE: 5}, 3)
    assert [cell.case for cell in chosen] == [CREATE, DELETE, DELETE]


def test_the_report_counts_outcomes_and_names_what_broke() -> None:
    """One line a stack, profile and case."""
    one = {"stack": "First", "profile": "production", "case": "create", "outcome": "ROLLBACK_COMPLETE", "seconds": 2.0,
           "at": "2026-11-28T03:00:00+00:00", "problems": [], "key": "First/production/create/Key"}  # fmt: skip
    text = section([one, {**one, "key": "k", "problems": ["left"]}], total=6, load=1.0)
    assert "| First | production | create | 2 | 2 ROLLBACK_COMPLETE | 1 |" in text
    assert "- `k`: left" in text
    assert "No cell broke the invariant." in section([one], total=6, load=1.0)
