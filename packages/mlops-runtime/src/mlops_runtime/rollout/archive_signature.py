"""The signature of a model archive in OpenSSF's model-signing form: a Sigstore bundle over an in-toto statement of its SHA-256.

``model_signing verify key model.tar.gz --signature model.sig --public_key public-key.pem`` accepts it. What stands here needs no
package of cryptography, and accepts nothing but the very bytes that the recorder writes: every byte counts.

See: https://github.com/sigstore/model-transparency (model signing format)
https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md
"""

import base64
import binascii
import hashlib
import json
import re
from typing import Final

from mlops_runtime.contracts import canonical_json
from mlops_runtime.rollout.public_key import PublicKey

ARCHIVE_FILE: Final = "model.tar.gz"
SIGNATURE_FILE: Final = "model.sig"

_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_IN_TOTO: Final = "application/vnd.in-toto+json"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ArchiveSignatureError(ValueError):
    """An archive is not what a signature says, or the signature is not the unit's; the message says why."""


def signature_uri(artifact_uri: str) -> str:
    """Return where the signature of an archive lies: beside it.

    Example:
        >>> signature_uri("s3://artifacts/models/demand/one/model.tar.gz")
        's3://artifacts/models/demand/one/model.sig'
    """
    return f"{artifact_uri.rpartition('/')[0]}/{SIGNATURE_FILE}"


def statement(digest: str) -> bytes:
    """Return the in-toto statement of an archive: a model of one file, which is named ``.`` whatever its name on a disk.

    Args:
        digest: SHA-256 of the archive, in hexadecimal digits.
    """
    return canonical_json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            # the digest of all files' digests
            "subject": [{"name": ARCHIVE_FILE, "digest": {"sha256": _hash(bytes.fromhex(digest))}}],
            "predicateType": "https://model_signing/signature/v1.0",
            "predicate": {
                "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
                "resources": [{"name": ".", "algorithm": "sha256", "digest": digest}],
            },
        }
    )


def signed_message(digest: str) -> bytes:
    """Return what the signature signs: DSSE's encoding of the statement. It begins as no seal's or passport's statement does.

    Example:
        >>> signed_message("0" * 64)[:42]
        b'DSSEv1 28 application/vnd.in-toto+json 438'
    """
    payload = statement(digest)
    return f"DSSEv1 {len(_IN_TOTO)} {_IN_TOTO} {len(payload)} ".encode() + payload


def archive_signature(digest: str, signature: bytes, key: PublicKey) -> bytes:
    """Return the bundle.

    Args:
        digest: SHA-256 of the archive.
        signature: Of ``signed_message``, DER.
        key: The public half of the key that signed.
    """
    return canonical_json(
        {
            "mediaType": _BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": _hash(key.pem.encode())}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(statement(digest)).decode(),
                "payloadType": _IN_TOTO,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
    )


def signed_digest(content: bytes, key: PublicKey) -> str:
    """Return the SHA-256 of the archive that a bundle signs.

    Args:
        content: The bundle.
        key: The public half of the key that must have signed it.

    Raises:
        ArchiveSignatureError: If it is something else, or is not signed with the key.
    """
    try:
        envelope = json.loads(content)["dsseEnvelope"]
        digest = str(json.loads(base64.b64decode(envelope["payload"]))["predicate"]["resources"][0]["digest"])
        signature = base64.b64decode(envelope["signatures"][0]["sig"])
    except (ValueError, KeyError, IndexError, TypeError, binascii.Error, RecursionError) as error:
        raise ArchiveSignatureError(f"it is not a signature of an archive: {type(error).__name__}") from error
    if _SHA256.fullmatch(digest) is None or archive_signature(digest, signature, key) != content:
        raise ArchiveSignatureError("it is not as the recorder writes a signature with this key")
    if not key.is_signed(signed_message(digest), signature):
        raise ArchiveSignatureError("it is not signed with the unit's key")
    return digest


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
