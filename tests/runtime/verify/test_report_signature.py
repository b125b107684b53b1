"""Signatures on P-256, compared with the package cryptography, and invalid signatures.

The signed report: verified without an account, and protected against every change.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.verify import ClaimResult, Verdict, VerifyReport
from mlops_runtime.verify.account import names
from mlops_runtime.verify.problems import VerifyError
from mlops_runtime.verify.report_signature import check, fingerprint, sign
from mlops_runtime.verify.report_signature import verify_p256 as verify

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud


N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# RFC 6979, A.2.5: P-256, SHA-256, message "sample"
X = 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
Y = 0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299
R = 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
S = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8


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


def der(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the key in the format of KMS's GetPublicKey."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_the_vector_of_the_standard() -> None:
    """https://www.rfc-editor.org/rfc/rfc6979#appendix-A.2.5."""
    key = der(ec.EllipticCurvePublicNumbers(X, Y, ec.SECP256R1()).public_key())

    assert verify(key, encode_dss_signature(R, S), b"sample")
    assert not verify(key, encode_dss_signature(R, S), b"test")


def test_signatures_of_another_implementation() -> None:
    """Only the matching key and message are accepted; integers of a signature may be short."""
    for _ in range(40):
        private, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        message = os.urandom(40)
        signature = private.sign(message, ec.ECDSA(hashes.SHA256()))
        assert verify(der(private.public_key()), signature, message)
        assert not verify(der(other.public_key()), signature, message)
        assert not verify(der(private.public_key()), signature, message + b"x")


def test_what_is_no_signature_or_key_does_not_pass() -> None:
    """Integers out of range, another encoding of them, a point off the curve, another curve, and random bytes are rejected."""
    private = ec.generate_private_key(ec.SECP256R1())
    key, message = der(private.public_key()), b"message"
    signature = private.sign(message, ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(signature)

    for numbers in ((0, s), (r, 0), (N, s), (r, N), (r + N, s), (0, 0)):
        assert not verify(key, encode_dss_signature(*numbers), message)
    for bad in (b"", signature[:-1], signature + b"\0", b"\x31" + signature[1:], b"\x30\x00", os.urandom(70)):
        assert not verify(key, bad, message)
    off = key[:-1] + bytes([key[-1] ^ 1])
    longer = der(ec.generate_private_key(ec.SECP384R1()).public_key())
    for bad in (b"", off, key[:-1], longer, key[:26] + b"\x02" + key[27:], b"\0" * len(key)):
        assert not verify(bad, signature, message)
    padded = b"\x30" + bytes([len(signature) - 1]) + b"\x02" + bytes([signature[3] + 1]) + b"\0" + signature[4:]
    assert not verify(key, padded, message)


@pytest.mark.parametrize("bit", range(0, 500, 37))
def test_no_bit_of_a_signature_may_change(bit: int) -> None:
    """Every bit is tested."""
    private = ec.derive_private_key(12345, ec.SECP256R1())
    signature = bytearray(private.sign(b"m", ec.ECDSA(hashes.SHA256())))
    signature[bit // 8] ^= 1 << bit % 8

    assert not verify(der(private.public_key()), bytes(signature), b"m")


@pytest.fixture(scope="module")
def signed(cloud: Cloud) -> str:
    """Return a signed report in the form of its file."""
    return json.dumps(to_dict(sign(cloud.client("kms"), NAMES, REPORT, made=lambda _: None)))


def test_a_report_is_checked_without_an_account(cloud: Cloud) -> None:
    """White space and the order of names in the file do not matter; the key is not stored."""
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
    """Skipped checks are not recorded."""
    found = check(signed)
    where = {"date": "2026-11-28", "region": "eu-west-1", "report": found.report_sha256}

    assert found.seen() == [
        {"id": "canary-promotes", "seen": {**where, "result": "passed"}},
        {"id": "alarm-returns-to-old-config", "seen": {**where, "result": "failed"}},
    ]


def test_a_field_of_a_later_version_is_signed_too(signed: str) -> None:
    """An unknown field is ignored, but is covered by the signature."""
    document = json.loads(signed)
    document["report"]["more"] = 1

    with pytest.raises(VerifyError, match="changed after it was signed"):
        check(json.dumps(document))


@pytest.mark.parametrize("name", ["region", "cloud", "ended", "spent_usd", "results", "image_digest"])
def test_no_word_can_change(signed: str, name: str) -> None:
    """Every value is covered by the signature."""
    document = json.loads(signed)
    changed = {"region": "eu-west-2", "cloud": "embedded", "spent_usd": 9.9, "results": [], "image_digest": ""}
    document["report"][name] = changed.get(name, "2026-11-29T11:00:00+00:00")

    with pytest.raises(VerifyError, match="changed after it was signed"):
        check(json.dumps(document))


def test_the_key_of_another_does_not_fit(cloud: Cloud, signed: str) -> None:
    """An invalid signature is rejected too."""
    document, other = json.loads(signed), to_dict(sign(cloud.client("kms"), NAMES, REPORT, made=lambda _: None))
    document["signature"]["public_key"] = other["signature"]["public_key"]
    with pytest.raises(VerifyError, match="changed after it was signed"):
        check(json.dumps(document))
    document["signature"]["value"] = base64.b64encode(b"rubbish").decode()
    with pytest.raises(VerifyError, match="changed after it was signed"):
        check(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json", '{"report": {}, "signature": {}}', "\xff"])
def test_what_is_no_report_is_refused(text: str) -> None:
    """The message contains the file to attach."""
    with pytest.raises(VerifyError, match="not a signed report"):
        check(text)


def test_the_key_goes_although_it_cannot_sign(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A remaining key would cost money."""
    kms, made = cloud.client("kms"), list[str]()
    monkeypatch.setattr(kms, "sign", lambda **_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        sign(kms, NAMES, REPORT, made=made.append)
    assert kms.describe_key(KeyId=made[0])["KeyMetadata"]["KeyState"] == "PendingDeletion"
