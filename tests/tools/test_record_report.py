"""A report of an account becomes part of the ledger."""

from pathlib import Path

import pytest

from mlops_local.aws_claims import read_claims
from tools import record_report

LEDGER = """- id: first
  claim: One thing.
  source: 'ours: believed'
  read: 2026-11-28
  basis: assumed
  module: src/x.py
  shown_by: >-
    a look
- id: second
  claim: Another.
  source: 'ours: believed'
  read: 2026-11-28
  basis: assumed
  module: src/x.py
  shown_by: a look
"""
SEEN = {"date": "2027-01-02", "region": "eu-west-1", "report": "ab12", "result": "passed"}


def test_what_was_seen_stands_beside_its_claim(tmp_path: Path) -> None:
    """A later report replaces an earlier one; other claims and unknown ids are unchanged."""
    (tmp_path / "area.yaml").write_text(LEDGER)

    assert record_report.record(tmp_path, {"first": SEEN, "nowhere": SEEN}) == ["first"]
    assert record_report.record(tmp_path, {"first": {**SEEN, "result": "failed"}}) == ["first"]

    first, second = read_claims(tmp_path)
    assert (first.seen, second.seen) == ({**SEEN, "result": "failed"}, None)


@pytest.mark.parametrize("content", [None, b"no report"])
def test_fails_for_what_is_no_report(tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]) -> None:
    """One line with the file's name; the ledger is unchanged."""
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)

    assert record_report.main([str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"record_report: {path}: ")


def test_fails_without_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    """The usage is one line."""
    assert record_report.main([]) == 2
    assert capsys.readouterr().err == "usage: python -m tools.record_report REPORT.json\n"
