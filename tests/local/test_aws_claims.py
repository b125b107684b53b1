"""The ledger is read completely or rejected with all faults."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_local.aws_claims import ClaimError, read_claims

GOOD: dict[str, Any] = {
    "id": "topics-need-a-policy",
    "claim": "A topic takes no message from a service that its policy does not name.",
    "source": "https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html",
    "read": yaml.safe_load("2026-11-28"),
    "basis": "documented",
    "module": "packages/mlops-local/src/mlops_local/iam/deliveries.py",
    "test": "tests/local/iam/test_deliveries.py::test_a_topic",
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return the text of one valid claim."""
    (tmp_path / "topics.yaml").write_text(yaml.safe_dump([GOOD]))
    return tmp_path


def test_a_claim_is_read(written: Path) -> None:
    """The result has the fields of the file."""
    (claim,) = read_claims(written)

    assert (claim.id, claim.basis, claim.covers, claim.seen) == ("topics-need-a-policy", "documented", (), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"claim": " "}, "claim must be a non-empty string"),
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"id": "Topics"}, "id must be in kebab-case, got 'Topics'"),
        ({"source": "a page"}, "source must be an https address"),
        ({"read": "yesterday"}, "read must be a date"),
        ({"basis": "known"}, "basis must be one of documented, observed, assumed, got 'known'"),
        ({"basis": "assumed"}, "an assumed claim needs shown_by"),
        ({"source": "ours: we think so"}, "a claim without a public source is assumed"),
        ({"test": "somewhere"}, "test must be tests/<file>.py::<function>"),
        ({"covers": "sagemaker:CreateModel"}, "covers must be a list of strings"),
        ({"seen": {"date": "2027-01-01"}}, "seen must have date, region, report and result"),
    ],
)
def test_a_fault_is_named(written: Path, change: dict[str, Any], message: str) -> None:
    """Each fault is reported with the file, the claim, the value and what is allowed."""
    (written / "topics.yaml").write_text(yaml.safe_dump([{**GOOD, **change}]))

    with pytest.raises(ClaimError, match=r"topics\.yaml") as caught:
        read_claims(written)

    assert message in str(caught.value)


def test_all_faults_are_named_at_once(written: Path) -> None:
    """Two files, three faults, one error."""
    entry = {name: value for name, value in GOOD.items() if name not in ("module", "test")}
    (written / "others.yaml").write_text(yaml.safe_dump([entry, 3, {**GOOD}]))

    with pytest.raises(ClaimError) as caught:
        read_claims(written)

    for part in ("field 'module' is missing", "others.yaml, 2: must be a mapping, got 3", "is used 2 times"):
        assert part in str(caught.value)


def test_a_file_that_is_not_a_list_is_refused(written: Path) -> None:
    """The file's name is in the message."""
    (written / "broken.yaml").write_text("id: x\n")

    with pytest.raises(ClaimError, match=r"broken\.yaml: must be a list of claims, got dict"):
        read_claims(written)
