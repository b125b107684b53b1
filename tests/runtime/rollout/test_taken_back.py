"""When rollouts ran that were taken back: which a row keeps, and which calls may be of their models."""

from dataclasses import replace

import pytest

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome, TakenBack
from mlops_runtime.rollout.audit_chain import GENESIS
from mlops_runtime.rollout.taken_back import is_among, next_taken_back, taken_back

ROW = LockRow(endpoint="e", locked_at="2017-08-08T10:00:00.250Z")
RECORD = AuditRecord(
    endpoint="e", sequence=1, previous=GENESIS, outcome=Outcome.ROLLED_BACK, reason="", execution="x",
    at="2017-08-08T10:20:00Z", requested_by="ann",
)  # fmt: skip
TIMES = (TakenBack(since="2017-08-08T10:00:00.250Z", until="2017-08-08T10:20:00Z"),)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_what_rolled_back_or_failed_is_kept_since_the_lock_was_taken(outcome: Outcome) -> None:
    """Every other outcome leaves the row as it is."""
    expected = TIMES if outcome in (Outcome.ROLLED_BACK, Outcome.FAILED) else None
    assert next_taken_back(ROW, replace(RECORD, outcome=outcome)) == expected


def test_a_row_without_the_time_of_its_lock_keeps_nothing() -> None:
    """An earlier version took the lock."""
    assert next_taken_back(LockRow(endpoint="e"), RECORD) is None


def test_the_newest_fifty_are_kept_and_read_back() -> None:
    """Whatever happens, a row stays small."""
    row = ROW
    for number in range(60):
        kept = next_taken_back(row, replace(RECORD, at=f"2017-08-08T10:{number:02d}:00Z"))
        row = replace(row, taken_back=canonical_json(kept).decode())
    assert [each.until[14:16] for each in taken_back(row)] == [f"{number:02d}" for number in range(10, 60)]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2017-08-08T09:00:00Z", "2017-08-08T09:59:59Z", False),
        ("2017-08-08T09:00:00Z", "2017-08-08T10:00:00Z", True),
        ("2017-08-08T10:05:00Z", "2017-08-08T10:05:00Z", True),
        ("2017-08-08T09:00:00Z", "2017-08-08T11:00:00Z", True),
        ("2017-08-08T10:20:00.900Z", "2017-08-08T11:00:00Z", True),
        ("2017-08-08T10:20:01Z", "2017-08-08T11:00:00Z", False),
        ("", "", False),
    ],
)
def test_calls_are_among_them_to_the_second(first: str, last: str, expected: bool) -> None:
    """Both ends count; calls without a time are nobody's."""
    assert is_among(first, last, TIMES) is expected
    assert not is_among(first, last, ())
