"""The page of assumptions: its statements about accounts match the ledger."""

from pathlib import Path

from tools import verified_page

SEEN = "  seen: {date: '2027-01-02', region: eu-west-1, report: ab12, result: failed}\n"


def _ledger(folder: Path, *seen: bool) -> None:
    entries = (
        f"- id: claim-{number}\n  claim: A thing.\n  source: 'ours: believed'\n  read: 2026-11-28\n  basis: assumed\n"
        f"  module: src/x.py\n  shown_by: a look\n{SEEN if is_seen else ''}"
        for number, is_seen in enumerate(seen)
    )
    (folder / "area.yaml").write_text("".join(entries))


def test_without_a_report_no_account_has_run_this(tmp_path: Path) -> None:
    """Every claim is open."""
    _ledger(tmp_path, False, False)

    text = verified_page.page(tmp_path)

    assert "No AWS account has run this." in text
    assert text.count("| not yet |") == 2


def test_with_a_report_the_page_says_how_much_an_account_has_run(tmp_path: Path) -> None:
    """A claim that failed there counts as run."""
    _ledger(tmp_path, True, False, False)

    text = verified_page.page(tmp_path)

    assert "No AWS account" not in text
    assert "An AWS account has run the checks of 1 of the 3 claims below" in text
    assert "| failed in eu-west-1, 2027-01-02 |" in text


def test_headings_are_names_and_words(tmp_path: Path) -> None:
    """An abbreviation stays in capitals; any other area starts with one."""
    for area in ("eks", "gitlab", "step_functions", "custom_resources"):
        _ledger(tmp_path, False)
        text = (tmp_path / "area.yaml").read_text().replace("claim-0", f"claim-{area.replace('_', '-')}")
        (tmp_path / f"{area}.yaml").write_text(text)
    (tmp_path / "area.yaml").unlink()

    headings = [line for line in verified_page.page(tmp_path).splitlines() if line.startswith("## ")]

    assert headings == ["## Custom resources", "## EKS", "## GitLab", "## Step Functions"]
