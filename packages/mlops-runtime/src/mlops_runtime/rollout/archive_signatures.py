"""Signatures of model archives that passed a gate, in OpenSSF's model-signing format: a Sigstore bundle over their SHA-256."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.model import Evaluation, GateResult, GateVerdict, ModelPackageSpec
from mlops_runtime.refused_calls import CONDITION_FAILED, NO_OBJECT, Tolerated
from mlops_runtime.rollout.seals import PublicKey, Sealer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

ARCHIVE_FILE: Final = "model.tar.gz"
SIGNATURE_FILE: Final = "model.sig"

_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_IN_TOTO: Final = "application/vnd.in-toto+json"
_SHA256 = re.compile(r"[0-9a-f]{64}")

_GATE = re.compile(r"([\w-]+)/([\w.-]+)\.json")
_MOST_BYTES = 10_000  # of a signature, which has about 1,100


class ArchiveSignatureError(ValueError):
    """An archive does not match its signature, or the signature is invalid; the message states the reason."""


def signature_uri(artifact_uri: str) -> str:
    """Return the URI of an archive's signature, which is in the same folder.

    Example:
        >>> signature_uri("s3://artifacts/models/demand/one/model.tar.gz")
        's3://artifacts/models/demand/one/model.sig'
    """
    return f"{artifact_uri.rpartition('/')[0]}/{SIGNATURE_FILE}"


def statement(digest: str) -> bytes:
    """Return the in-toto statement of an archive: a model of one file, which is named ``.`` regardless of its file name.

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
    """Return the signed message: the statement in DSSE's encoding. No seal's or passport's message has the same prefix.

    Example:
        >>> signed_message("0" * 64)[:42]
        b'DSSEv1 28 application/vnd.in-toto+json 438'
    """
    payload = statement(digest)
    return f"DSSEv1 {len(_IN_TOTO)} {_IN_TOTO} {len(payload)} ".encode() + payload


def archive_signature(digest: str, signature: bytes, key: PublicKey) -> bytes:
    """Return the Sigstore bundle of a signature.

    Args:
        digest: SHA-256 of the archive.
        signature: Signature of ``signed_message`` (DER).
        key: Public key of the signer.
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
    """Verify a bundle, and return the SHA-256 of the signed archive.

    Raises:
        ArchiveSignatureError: If the content is not a bundle, or is not signed with the key.
    """
    try:
        envelope = json.loads(content)["dsseEnvelope"]
        digest = str(json.loads(base64.b64decode(envelope["payload"]))["predicate"]["resources"][0]["digest"])
        signature = base64.b64decode(envelope["signatures"][0]["sig"])
    except (ValueError, KeyError, IndexError, TypeError, binascii.Error, RecursionError) as error:
        raise ArchiveSignatureError(f"it is not a signature of an archive: {type(error).__name__}") from error
    if _SHA256.fullmatch(digest) is None or archive_signature(digest, signature, key) != content:
        raise ArchiveSignatureError("it differs from what the recorder writes for this archive and key")
    if not key.is_signed(signed_message(digest), signature):
        raise ArchiveSignatureError("it is not signed with the unit's key")
    return digest


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class SignedArchives:
    """The model archives of an artifacts bucket and the signatures beside them.

    Args:
        s3: Client.
        bucket: Artifacts bucket.
        sealer: The unit's key. A client that may only read the public key can verify, but not sign.
    """

    def __init__(self, *, s3: "S3Client", bucket: str, sealer: Sealer) -> None:
        self._s3, self._bucket, self._sealer = s3, bucket, sealer

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], client: Callable[[str], Any]) -> "SignedArchives":
        """Create it from the environment variables of a function.

        Args:
            environ: With ``ARTIFACTS_BUCKET`` and ``SIGNING_KEY``.
            client: Returns the boto3 client of a service name.
        """
        sealer = Sealer(kms=client("kms"), key=environ["SIGNING_KEY"])
        return cls(s3=client("s3"), bucket=environ["ARTIFACTS_BUCKET"], sealer=sealer)

    @cached_property
    def public_key(self) -> PublicKey:
        """The unit's public key, requested once."""
        return PublicKey(der=self._sealer.kms.get_public_key(KeyId=self._sealer.key)["PublicKey"])

    def sign(self, gate_uri: str) -> dict[str, str]:
        """Sign the archive of a candidate that passed its gate, once, and return ``{"signature_uri"}``.

        Args:
            gate_uri: URI of the gate's result, ``gates/<pipeline>/<execution>.json``.

        Raises:
            ArchiveSignatureError: If the candidate did not pass, or the evaluation, the archive or an existing signature does not
                belong to it.
            ContractError: If the gate's result or the evaluation is malformed.
        """
        pipeline, execution = self._named(gate_uri)
        gate = from_json(GateResult, self._read(f"gates/{pipeline}/{execution}.json"))
        if gate.verdict is not GateVerdict.PASSED:
            raise ArchiveSignatureError(f"{gate_uri} is {gate.verdict.value}: only candidates that passed are signed")
        root = f"s3://{self._bucket}/"
        if not gate.evaluation_uri.startswith(f"{root}evaluations/{pipeline}/"):
            raise ArchiveSignatureError(
                f"{gate_uri} names the evaluation {gate.evaluation_uri}, which is not of pipeline {pipeline}"
            )
        content = self._read(gate.evaluation_uri.removeprefix(root))
        if hashlib.sha256(content).hexdigest() != gate.evaluation_sha256:
            raise ArchiveSignatureError(f"{gate.evaluation_uri} is not the evaluation that {gate_uri} is based on")
        digest = from_json(Evaluation, content).artifact_sha256
        folder = f"models/{pipeline}/{execution}"
        if (problem := self._unlike(f"{folder}/{ARCHIVE_FILE}", digest)) is not None:
            raise ArchiveSignatureError(f"{problem}; the gate passed {digest}")
        self._write(f"{folder}/{SIGNATURE_FILE}", digest)
        return {"signature_uri": f"{root}{folder}/{SIGNATURE_FILE}"}

    def sign_copy(self, uri: str, digest: str) -> None:
        """Sign an archive that another environment released, once.

        Args:
            uri: URI of the archive.
            digest: Its SHA-256, according to the release.

        Raises:
            ArchiveSignatureError: If the archive or an existing signature has another hash.
        """
        key = uri.removeprefix(f"s3://{self._bucket}/")
        if (problem := self._unlike(key, digest)) is not None:
            raise ArchiveSignatureError(f"{problem}; the release has {digest}")
        self._write(f"{key.rpartition('/')[0]}/{SIGNATURE_FILE}", digest)

    def problems(self, spec: ModelPackageSpec) -> tuple[str, ...]:
        """Return why a package's archive does not match its signature; nothing for a package without a signing key.

        Args:
            spec: The package. Its hash covers the signing key.
        """
        root = f"s3://{self._bucket}/"
        if spec.signing_key is None:
            return ()
        if spec.signing_key != self._sealer.key:
            return (f"it was signed with {spec.signing_key}, this unit's key is {self._sealer.key}",)
        if not spec.artifact_uri.startswith(root):
            return (f"it is at {spec.artifact_uri}, but signed archives are below {root}",)
        uri = signature_uri(spec.artifact_uri)
        signature = None
        with Tolerated(*NO_OBJECT):
            signature = self._read(uri.removeprefix(root), _MOST_BYTES)
        if signature is None:
            return (f"{uri} is missing",)
        try:
            digest = signed_digest(signature, self.public_key)
        except ArchiveSignatureError as error:
            return (f"{uri}: {error}",)
        if digest != spec.artifact_sha256:
            return (f"{uri} signs an archive with SHA-256 {digest}, but {spec.artifact_sha256} is registered",)
        problem = self._unlike(spec.artifact_uri.removeprefix(root), digest)
        return () if problem is None else (f"{problem}; its signature is for {digest}",)

    def _named(self, gate_uri: str) -> tuple[str, str]:
        folder = f"s3://{self._bucket}/gates/"
        found = _GATE.fullmatch(gate_uri.removeprefix(folder)) if gate_uri.startswith(folder) else None
        if found is None:
            raise ArchiveSignatureError(f"gate_uri must be {folder}<pipeline>/<execution>.json, got {gate_uri!r}")
        return found[1], found[2]

    def _unlike(self, key: str, digest: str) -> str | None:
        """Return how an archive differs from a hash, by the checksum that S3 computed."""
        head = stored_head(self._s3, self._bucket, key)
        if head is None:
            return f"s3://{self._bucket}/{key} is missing"
        present = full_digest(head)
        if present is None:
            return (
                f"S3 has no full-object SHA-256 of s3://{self._bucket}/{key}; copy it with --checksum-algorithm SHA256"
            )
        return None if present == digest else f"s3://{self._bucket}/{key} now has SHA-256 {present}"

    def _write(self, key: str, digest: str) -> None:
        signature = base64.b64decode(self._sealer.sign(signed_message(digest)))
        with Tolerated(*CONDITION_FAILED):
            self._s3.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=archive_signature(digest, signature, self.public_key),
                ContentType="application/json",
                IfNoneMatch="*",
            )
            return
        # an earlier attempt wrote it, with another random number
        if signed_digest(self._read(key, _MOST_BYTES), self.public_key) != digest:
            raise ArchiveSignatureError(f"s3://{self._bucket}/{key} signs another archive")

    def _read(self, key: str, most: int | None = None) -> bytes:
        return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read(most)


def stored_head(s3: "S3Client", bucket: str, key: str) -> "HeadObjectOutputTypeDef | None":
    """Return the headers of an object, with the checksum that S3 computed; None if it is missing."""
    with Tolerated(*NO_OBJECT):
        return s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    return None


def full_digest(head: "HeadObjectOutputTypeDef") -> str | None:
    """Return the SHA-256 that S3 computed of a whole object; None without one."""
    checksum = head.get("ChecksumSHA256")
    # claim: copies-have-the-hash-of-the-whole
    if checksum is None or head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    return base64.b64decode(checksum).hex()
