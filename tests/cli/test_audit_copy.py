"""Copies of a chain in a folder: reading, and the end of the chain."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.signing import SigningKms

from mlops_cli.audit_copy import KEY_FILE, CopyOfChain, read_key
from mlops_cli.aws_account import UserError
from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.rollout import AuditRecord, Outcome, RolloutVerdict, audit_key, published_key, seal_key
from mlops_runtime.rollout.audit_chain import GENESIS

KMS = SigningKms()
RECORD = AuditRecord(
    endpoint="demand",
    sequence=1,
    previous=GENESIS,
    outcome=Outcome.PROMOTED,
    reason="r",
    execution="e",
    at="2017-08-01T09:00:00Z",
    requested_by="ann",
)


def _copy(records: list[AuditRecord]) -> CopyOfChain:
    objects, published = {}, {}
    for made in records:
        seal = KMS.sealer.seal(made)
        place = (made.endpoint, made.sequence, seal.sha256)
        objects |= {audit_key(*place): canonical_json(made), seal_key(*place): canonical_json(seal)}
        published[published_key(*place)] = canonical_json(seal)
    return CopyOfChain(name="demand", objects=objects, published=published)


@pytest.fixture
def whole() -> CopyOfChain:
    """A chain of two records."""
    return _copy([RECORD, replace(RECORD, sequence=2, previous=content_hash(RECORD))])


def test_what_is_written_is_read_back(whole: CopyOfChain, tmp_path: Path) -> None:
    """The key is written too; a second copy into the folder is rejected."""
    whole.write(tmp_path / "copy", KMS.public)

    assert CopyOfChain.read("demand", tmp_path / "copy") == whole
    kept = replace(whole, minutes={"minutes/demand/00000001-0.json": b"{}"})
    kept.write(tmp_path / "kept", KMS.public)
    assert CopyOfChain.read("demand", tmp_path / "kept") == kept
    assert read_key(tmp_path / "copy" / KEY_FILE) == KMS.public
    with pytest.raises(UserError, match="must be a new or an empty folder"):
        whole.write(tmp_path / "copy", KMS.public)
    below = tmp_path / "copy" / KEY_FILE / "copy"
    with pytest.raises(UserError, match=r"cannot write .*copy: Not a directory; give another --output"):
        whole.write(below, KMS.public)


def test_the_newest_published_head_says_where_the_chain_ends(whole: CopyOfChain) -> None:
    """Ignores heads signed with another key; truncated records are detected."""
    assert whole.problems(KMS.public, head=None, sequence=None) == ([], 2)
    forged = SigningKms().sealer.seal(replace(RECORD, sequence=9))
    published = {**(whole.published or {}), published_key("demand", 9, forged.sha256): canonical_json(forged)}
    found, sequence = replace(whole, published=published).problems(KMS.public, head=None, sequence=None)
    assert sequence == 2
    assert [problem for problem in found if "is not signed with the unit's key" in problem] != []
    cut = {key: content for key, content in whole.objects.items() if "00000002" not in key}
    assert "sequence 2 is missing" in replace(whole, objects=cut).problems(KMS.public, head=None, sequence=None)[0]


def test_an_emptied_copy_is_found(whole: CopyOfChain) -> None:
    """Only the published heads remain."""
    found, _ = replace(whole, objects={}).problems(KMS.public, head=None, sequence=None)
    assert "sequence 1 is missing" in found
    assert "sequence 2 is missing" in found


def test_minutes_that_a_record_names_are_missed_in_a_copy() -> None:
    """With the published heads of an export; a copy of the chain alone needs no evidence files."""
    uri = f"s3://audit/minutes/demand/00000001-{'0' * 16}.json"
    verdict = RolloutVerdict(
        action="stop", calls=1, evidence=200.0, minutes=3, sentence="s", minutes_uri=uri, minutes_sha256="0" * 64
    )
    whole = _copy([replace(RECORD, verdict=verdict)])
    assert whole.problems(KMS.public, head=None, sequence=None) == (
        [f"{uri.removeprefix('s3://audit/')} is missing"],
        1,
    )
    alone = replace(whole, published=None)
    head = next(iter(whole.published or {}))
    digest = content_hash(replace(RECORD, verdict=verdict))
    assert head.endswith(f"{digest[:16]}.json")
    assert alone.problems(None, head=digest, sequence=1) == ([], 1)


def test_fails_where_nothing_says_where_the_chain_ends(whole: CopyOfChain, tmp_path: Path) -> None:
    """A bucket copy without heads needs a head as an option; folder and key must exist."""
    with pytest.raises(
        UserError, match="--sequence must be given; give --public-key and a folder written by mlops audit export"
    ):
        replace(whole, published=None).problems(KMS.public, head=None, sequence=None)
    with pytest.raises(UserError, match="--folder must be a folder"):
        CopyOfChain.read("demand", tmp_path / "none")
    with pytest.raises(UserError, match="--public-key must be a PEM file"):
        read_key(tmp_path / "none.pem")
