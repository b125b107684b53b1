"""Adapter of ``archive_signature``: signs the archives that a gate passed, and holds archives against their signatures.

Nothing of a request is believed but where the gate's result lies: verdict, evaluation and archive are read again, and the archive's
hash is the one that S3 made when it was kept.

See: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html (x-amz-checksum-mode)
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model import Evaluation, GateResult, GateVerdict, ModelPackageSpec
from mlops_runtime.rollout.archive_signature import (
    ARCHIVE_FILE,
    SIGNATURE_FILE,
    ArchiveSignatureError,
    archive_signature,
    signature_uri,
    signed_digest,
    signed_message,
)
from mlops_runtime.rollout.public_key import PublicKey
from mlops_runtime.rollout.seals import Sealer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_GATE = re.compile(r"([\w-]+)/([\w.-]+)\.json")
_MOST_BYTES = 10_000  # of a signature, which has about 1,100
_GONE = ("NoSuchKey", "404", "AccessDenied", "403")  # S3 says that it is forbidden of what is gone to whom may not list


class SignedArchives:
    """The model archives of an artifacts bucket and the signatures beside them.

    Args:
        s3: Client.
        bucket: Artifacts bucket.
        sealer: The unit's key; a client that may only read the public half verifies and does not sign.
    """

    def __init__(self, *, s3: "S3Client", bucket: str, sealer: Sealer) -> None:
        self._s3, self._bucket, self._sealer = s3, bucket, sealer

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], client: Callable[[str], Any]) -> "SignedArchives":
        """Read from the variables that constructs give to functions.

        Args:
            environ: With ``ARTIFACTS_BUCKET`` and ``SIGNING_KEY``.
            client: Gives a boto3 client by service name.
        """
        sealer = Sealer(kms=client("kms"), key=environ["SIGNING_KEY"])
        return cls(s3=client("s3"), bucket=environ["ARTIFACTS_BUCKET"], sealer=sealer)

    @cached_property
    def public_key(self) -> PublicKey:
        """The public half of the unit's key, asked for once."""
        return PublicKey(der=self._sealer.kms.get_public_key(KeyId=self._sealer.key)["PublicKey"])

    def sign(self, gate_uri: str) -> dict[str, str]:
        """Sign the archive of a candidate that a gate passed, once, and return ``{"signature_uri"}``.

        Args:
            gate_uri: Where the gate's result lies, ``gates/<pipeline>/<execution>.json``.

        Raises:
            ArchiveSignatureError: If the gate did not pass it, or evaluation, archive or a signature that is there already are of
                something else.
            ContractError: If gate's result or evaluation are something else.
        """
        pipeline, execution = self._named(gate_uri)
        gate = from_json(GateResult, self._read(f"gates/{pipeline}/{execution}.json"))
        if gate.verdict is not GateVerdict.PASSED:
            raise ArchiveSignatureError(f"{gate_uri} is {gate.verdict.value}: only what passed is signed")
        root = f"s3://{self._bucket}/"
        if not gate.evaluation_uri.startswith(f"{root}evaluations/{pipeline}/"):
            raise ArchiveSignatureError(f"{gate_uri} judged {gate.evaluation_uri}, not of pipeline {pipeline}")
        content = self._read(gate.evaluation_uri.removeprefix(root))
        if hashlib.sha256(content).hexdigest() != gate.evaluation_sha256:
            raise ArchiveSignatureError(f"{gate.evaluation_uri} is not the evaluation that {gate_uri} judged")
        digest = from_json(Evaluation, content).artifact_sha256
        folder = f"models/{pipeline}/{execution}"
        if (problem := self._unlike(f"{folder}/{ARCHIVE_FILE}", digest)) is not None:
            raise ArchiveSignatureError(f"{problem}; the gate passed {digest}")
        self._write(f"{folder}/{SIGNATURE_FILE}", digest)
        return {"signature_uri": f"{root}{folder}/{SIGNATURE_FILE}"}

    def problems(self, spec: ModelPackageSpec) -> tuple[str, ...]:
        """Return why a package's archive is not what was signed; nothing if it is, or if the package says that nothing signed it.

        Args:
            spec: The package. What it says of its signing key is bound by its hash.
        """
        root = f"s3://{self._bucket}/"
        if spec.signing_key is None:
            return ()
        if spec.signing_key != self._sealer.key:
            return (f"it was signed with {spec.signing_key}, this unit's key is {self._sealer.key}",)
        if not spec.artifact_uri.startswith(root):
            return (f"it lies at {spec.artifact_uri}, what is signed below {root}",)
        uri = signature_uri(spec.artifact_uri)
        try:
            digest = signed_digest(self._read(uri.removeprefix(root), _MOST_BYTES), self.public_key)
        except ArchiveSignatureError as error:
            return (f"{uri}: {error}",)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            return (f"{uri} is missing",)
        if digest != spec.artifact_sha256:
            return (f"{uri} signs an archive of {digest}, registered is {spec.artifact_sha256}",)
        problem = self._unlike(spec.artifact_uri.removeprefix(root), digest)
        return () if problem is None else (f"{problem}; signed was {digest}",)

    def _named(self, gate_uri: str) -> tuple[str, str]:
        folder = f"s3://{self._bucket}/gates/"
        found = _GATE.fullmatch(gate_uri.removeprefix(folder)) if gate_uri.startswith(folder) else None
        if found is None:
            raise ArchiveSignatureError(f"gate_uri must be {folder}<pipeline>/<execution>.json, got {gate_uri!r}")
        return found[1], found[2]

    def _unlike(self, key: str, digest: str) -> str | None:
        """Return how an archive differs from a hash, by the one that S3 made of it."""
        try:
            found = self._s3.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            return f"s3://{self._bucket}/{key} is missing"
        checksum = found.get("ChecksumSHA256")
        # claim: copies-have-the-hash-of-the-whole
        if checksum is None or found.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
            return (
                f"S3 has no SHA-256 of the whole of s3://{self._bucket}/{key}; copy it with --checksum-algorithm SHA256"
            )
        present = base64.b64decode(checksum).hex()
        return None if present == digest else f"s3://{self._bucket}/{key} is {present} now"

    def _write(self, key: str, digest: str) -> None:
        signature = base64.b64decode(self._sealer.sign(signed_message(digest)))
        try:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=archive_signature(digest, signature, self.public_key),
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            # an earlier attempt wrote it, with another random number
            if signed_digest(self._read(key, _MOST_BYTES), self.public_key) != digest:
                raise ArchiveSignatureError(f"s3://{self._bucket}/{key} signs another archive") from error

    def _read(self, key: str, most: int | None = None) -> bytes:
        return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read(most)
