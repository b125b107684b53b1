"""The signature of an archive: every byte of it counts, and it fits no other archive, key or kind of document."""

import base64
import hashlib
import json

import pytest
from tests.signing import KEY, SigningKms

from mlops_runtime.rollout.archive_signature import (
    ArchiveSignatureError,
    archive_signature,
    signature_uri,
    signed_digest,
    signed_message,
    statement,
)
from mlops_runtime.rollout.seals import statement as seal_statement

DIGEST = hashlib.sha256(b"archive").hexdigest()
KMS = SigningKms()


def _signed(kms: SigningKms = KMS, digest: str = DIGEST) -> bytes:
    signature = base64.b64decode(kms.sealer.sign(signed_message(digest)))
    return archive_signature(digest, signature, kms.public)


def test_a_signature_names_the_archive() -> None:
    """KMS takes the message as it is."""
    assert signed_digest(_signed(), KMS.public) == DIGEST
    assert len(signed_message(DIGEST)) <= 4096
    assert signature_uri("s3://b/models/p/one/model.tar.gz") == "s3://b/models/p/one/model.sig"


def test_no_byte_may_change() -> None:
    """Whatever the byte belongs to: envelope, statement, signature, or the hint which key it was."""
    content = _signed()
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(ArchiveSignatureError):
            signed_digest(changed, KMS.public)


@pytest.mark.parametrize("change", [b" ", b"\n", b"{}"])
def test_nothing_may_be_added(change: bytes) -> None:
    """JSON would not mind."""
    for content in (_signed() + change, change + _signed()):
        with pytest.raises(ArchiveSignatureError):
            signed_digest(content, KMS.public)


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b'{"dsseEnvelope": {"payload": 1}}', b"[" * 5000, b"\xff"])
def test_what_is_something_else_is_refused(content: bytes) -> None:
    """Whatever lies in its place."""
    with pytest.raises(ArchiveSignatureError, match="is not a signature of an archive"):
        signed_digest(content, KMS.public)


def test_another_key_is_refused() -> None:
    """By its hint already; with a forged hint by the signature."""
    with pytest.raises(ArchiveSignatureError, match="with this key"):
        signed_digest(_signed(SigningKms()), KMS.public)
    forged = archive_signature(DIGEST, base64.b64decode(SigningKms().sealer.sign(signed_message(DIGEST))), KMS.public)
    with pytest.raises(ArchiveSignatureError, match="not signed with the unit's key"):
        signed_digest(forged, KMS.public)


def test_a_signature_of_another_archive_is_refused() -> None:
    """Put under a statement that it does not sign."""
    other = hashlib.sha256(b"other").hexdigest()
    mixed = archive_signature(DIGEST, base64.b64decode(KMS.sealer.sign(signed_message(other))), KMS.public)
    with pytest.raises(ArchiveSignatureError, match="not signed with the unit's key"):
        signed_digest(mixed, KMS.public)


def test_no_signature_of_a_record_is_one_of_an_archive() -> None:
    """One key signs both, so that what it signs must begin differently."""
    assert signed_message(DIGEST)[:1] != seal_statement("demand", 1, DIGEST, KEY)[:1] == b"{"
    sealed = base64.b64decode(KMS.sealer.sign(statement(DIGEST)))
    with pytest.raises(ArchiveSignatureError):
        signed_digest(archive_signature(DIGEST, sealed, KMS.public), KMS.public)


def test_the_statement_is_of_model_signing() -> None:
    """The subject's digest is that of all files' digests, and the one file has no name."""
    found = json.loads(statement(DIGEST))
    assert found["predicate"]["resources"] == [{"name": ".", "algorithm": "sha256", "digest": DIGEST}]
    assert found["subject"][0]["digest"]["sha256"] == hashlib.sha256(bytes.fromhex(DIGEST)).hexdigest()
