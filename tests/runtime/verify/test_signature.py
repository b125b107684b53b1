"""The signed report: checked without an account, and no word of it can change."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.verify import ClaimResult, Verdict, VerifyReport
from mlops_runtime.verify.names import names
from mlops_runtime.verify.problems import VerifyError
from mlops_runtime.verify.signature import check, fingerprint, sign

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

NAMES = names("1" * 12, "eu-west-1")
REPORT = VerifyReport(
    run="0a1b2c3d",
    cloud="aws",
    region="eu-west-1",
    started="2026-11-28T10:00:00+00:00",
    ended="2026-11-28T11:00:00+00:00",
    version="0.1.0",
    versions={"boto3": "1.43"},
    template_sha256="a" * 64,
    image_digest="sha256:" + "b" * 64,
    estimate_usd=1.0,
    spent_usd=0.52,
    results=(
        ClaimResult(claim="canary-promotes", verdict=Verdict.PASSED, evidence="144 calls", seconds=10.6),
        ClaimResult(claim="alarm-returns-to-old-config", verdict=Verdict.FAILED, evidence="it did not", seconds=1),
        ClaimResult(claim="approver-is-a-session", verdict=Verdict.SKIPPED, evidence="no image", seconds=0),
    ),
    left=(),
)


@pytest.fixture(scope="module")
def signed(cloud: Cloud) -> str:
    """A signed report as the file holds it."""
    return json.dumps(to_dict(sign(cloud.client("kms"), NAMES, REPORT, made=lambda _: None)))


def test_a_report_is_checked_without_an_account(cloud: Cloud) -> None:
    """Whatever the file's spaces and order of names; the key is not kept."""
    kms, made = cloud.client("kms"), list[str]()
    document = sign(kms, NAMES, REPORT, made=made.append)
    text = json.dumps(to_dict(document), indent=4, sort_keys=True)

    found = check(text)

    assert found.report == REPORT
    assert found.report_sha256 == hashlib.sha256(canonical_json(REPORT)).hexdigest()
    assert found.key_sha256 == fingerprint(document.signature)
    (key,) = made
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    tags = kms.list_resource_tags(KeyId=key)["Tags"]
    assert tags == [{"TagKey": "mlops:verify", "TagValue": NAMES.unit}]


def test_the_ledger_records_what_passed_or_failed(signed: str) -> None:
    """Not what was skipped."""
    found = check(signed)
    where = {"date": "2026-11-28", "region": "eu-west-1", "report": found.report_sha256}

    assert found.seen() == [
        {"id": "canary-promotes", "seen": {**where, "result": "passed"}},
        {"id": "alarm-returns-to-old-config", "seen": {**where, "result": "failed"}},
    ]


def test_a_field_of_a_later_version_is_signed_too(signed: str) -> None:
    """It is read over, but not outside of the signature."""
    document = json.loads(signed)
    document["report"]["more"] = 1

    with pytest.raises(VerifyError, match="changed after it was signed"):
        check(json.dumps(document))


@pytest.mark.parametrize("name", ["region", "cloud", "ended", "spent_usd", "results", "image_digest"])
def test_no_word_can_change(signed: str, name: str) -> None:
    """Each is under the signature."""
    document = json.loads(signed)
    changed = {"region": "eu-west-2", "cloud": "embedded", "spent_usd": 9.9, "results": [], "image_digest": ""}
    document["report"][name] = changed.get(name, "2026-11-29T11:00:00+00:00")

    with pytest.raises(VerifyError, match="changed after it was signed"):
        check(json.dumps(document))


def test_the_key_of_another_does_not_fit(cloud: Cloud, signed: str) -> None:
    """Nor a signature that is none."""
    document, other = json.loads(signed), to_dict(sign(cloud.client("kms"), NAMES, REPORT, made=lambda _: None))
    document["signature"]["public_key"] = other["signature"]["public_key"]
    with pytest.raises(VerifyError, match="changed after it was signed"):
        check(json.dumps(document))
    document["signature"]["value"] = base64.b64encode(b"rubbish").decode()
    with pytest.raises(VerifyError, match="changed after it was signed"):
        check(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json", '{"report": {}, "signature": {}}', "\xff"])
def test_what_is_no_report_is_refused(text: str) -> None:
    """With what to attach."""
    with pytest.raises(VerifyError, match="not a signed report"):
        check(text)


def test_the_key_goes_although_it_cannot_sign(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that stays costs money."""
    kms, made = cloud.client("kms"), list[str]()
    monkeypatch.setattr(kms, "sign", lambda **_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        sign(kms, NAMES, REPORT, made=made.append)
    assert kms.describe_key(KeyId=made[0])["KeyMetadata"]["KeyState"] == "PendingDeletion"
