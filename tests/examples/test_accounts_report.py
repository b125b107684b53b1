"""The closing summary of the demo over accounts: plain sentences, and rollbacks identified correctly."""

import doctest
from dataclasses import replace

import pytest
from examples.retail import accounts_report

from mlops_runtime.contracts.rollout import AuditRecord, Outcome

RECORD = AuditRecord(
    endpoint="demand-forecast",
    sequence=4,
    previous="0" * 64,
    outcome=Outcome.PROMOTED,
    reason="back to version 1: an alarm fired during probation",
    execution="arn:aws:states:us-east-1:333333333333:execution:Deploy:one",
    at="2017-07-24T23:45:43.362000Z",
    requested_by="alarm",
)


def test_its_examples_run() -> None:
    """Docstring examples run."""
    result = doctest.testmod(accounts_report)

    assert (result.failed, result.attempted) == (0, 3)


@pytest.mark.parametrize(
    ("record", "is_rollback"),
    [
        (RECORD, True),
        (replace(RECORD, reason="approved: version 2"), False),
        (replace(RECORD, outcome=Outcome.FAILED), False),
    ],
)
def test_a_rollback_serves_a_version_again(record: AuditRecord, is_rollback: bool) -> None:
    """A failed rollback does not count."""
    assert accounts_report.is_rollback(record) is is_rollback
