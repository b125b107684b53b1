"""Adapter that verifies the S3 objects of a package against the hashes in the registry.

The archive's hash is the checksum that S3 computed when the gate stored it; the other objects are small and are read. See:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.model import GateResult, GateVerdict
from mlops_runtime.contracts.release import ReleasedObject
from mlops_runtime.registry.package_registry import gate_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html: a target copies each object with one call
MOST_BYTES = 5 * 1024**3
# evaluation, baseline and gate: read into memory by a function
MOST_READ = 64 * 1024**2
_MISSING = ("404", "NoSuchKey", "NotFound")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageObjects:
    """Objects of a package. ``problems`` are objects that are missing, misplaced, too large or not verified."""

    artifact: ReleasedObject | None = None
    evaluation: ReleasedObject | None = None
    baseline: ReleasedObject | None = None
    gate: ReleasedObject | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReader:
    """Reader of the objects of releases; targets may only copy from below these names of the bucket."""

    s3: "S3Client"
    bucket: str  # artifacts bucket
    names: Sequence[str]  # names of the group and of the pipelines that register into it

    def prove(self, metadata: Mapping[str, Any], *, artifact_uri: str) -> PackageObjects:
        """Verify and return the objects of a package."""
        problems: list[str] = []
        artifact = self._archive(artifact_uri, str(metadata.get("artifact_sha256")), problems)
        evaluation = self._read("evaluation", metadata, problems)
        baseline = self._read("baseline", metadata, problems)
        gate = self._gate(metadata, problems)
        return PackageObjects(
            artifact=artifact, evaluation=evaluation, baseline=baseline, gate=gate, problems=tuple(problems)
        )

    def _archive(self, uri: str, registered: str, problems: list[str]) -> ReleasedObject | None:
        key = self._key("archive", uri, "models", problems)
        if key is None:
            return None
        try:
            head = self.s3.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            problems.append(_unread("archive", uri, error))
            return None
        found, size = _hexadecimal(head.get("ChecksumSHA256")), head["ContentLength"]
        if found is None:
            problems.append(
                f"S3 has no full-object SHA-256 of the archive {uri}, so no target could verify its copy; register the model "
                "again, so that the gate stores its archive with one"
            )
        elif found != registered:
            problems.append(f"the archive {uri} has SHA-256 {found}, but {registered} is registered: it was changed")
        if size > MOST_BYTES:
            problems.append(f"the archive {uri} must have at most {MOST_BYTES} bytes to be copied, got {size}")
        return None if found is None else ReleasedObject(uri=uri, size=size, sha256=found)

    def _read(self, what: str, metadata: Mapping[str, Any], problems: list[str]) -> ReleasedObject | None:
        uri, registered = str(metadata.get(f"{what}_uri")), metadata.get(f"{what}_sha256")
        key = self._key(what, uri, "evaluations", problems)
        if key is None:
            return None
        if registered is None:
            problems.append(
                f"the package has no {what}_sha256, so that {uri} is not bound to it; register the model again"
            )
            return None
        try:
            content = self._content(what, uri, key, problems)
        except ClientError as error:
            problems.append(_unread(what, uri, error))
            return None
        if content is None:
            return None
        found = hashlib.sha256(content).hexdigest()
        if found != registered:
            problems.append(f"the {what} {uri} has SHA-256 {found}, but {registered} is registered: it was changed")
        return ReleasedObject(uri=uri, size=len(content), sha256=found)

    def _gate(self, metadata: Mapping[str, Any], problems: list[str]) -> ReleasedObject | None:
        """Return the gate's result, if a gate passed the package; a result that does not match the package is a problem."""
        uri = gate_uri(str(metadata.get("evaluation_uri")))
        key = None if uri is None else self._key("gate's result", uri, "gates", problems)
        if uri is None or key is None:
            return None
        try:
            content = self._content("gate's result", uri, key, problems)
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None  # registered without a gate
            problems.append(_unread("gate's result", uri, error))
            return None
        if content is None:
            return None
        try:
            gate = from_json(GateResult, content)
        except ContractError as error:
            problems.append(f"{uri} is not the result of a gate: {error}")
            return None
        about = (gate.evaluation_uri, gate.evaluation_sha256)
        registered = (metadata.get("evaluation_uri"), metadata.get("evaluation_sha256"))
        if gate.verdict is not GateVerdict.PASSED:
            problems.append(f"the gate's result {uri} is {gate.verdict}, not {GateVerdict.PASSED}: {gate.reason}")
        # a package from another environment was copied, so its evaluation has another URI than in its gate's result
        differs = about[1] != registered[1] if "source_binding" in metadata else about != registered
        if differs:
            problems.append(f"the gate's result {uri} is about {' '.join(about)}, but {registered} is registered")
        return ReleasedObject(uri=uri, size=len(content), sha256=hashlib.sha256(content).hexdigest())

    def _content(self, what: str, uri: str, key: str, problems: list[str]) -> bytes | None:
        answer = self.s3.get_object(Bucket=self.bucket, Key=key)
        if answer["ContentLength"] > MOST_READ:
            problems.append(f"the {what} {uri} must have at most {MOST_READ} bytes, got {answer['ContentLength']}")
            return None
        return answer["Body"].read()

    def _key(self, what: str, uri: str, folder: str, problems: list[str]) -> str | None:
        """Return the key of an object that targets may copy; None, with a problem, if it is in another folder."""
        allowed = [f"s3://{self.bucket}/{folder}/{name}/" for name in self.names]
        if uri.startswith(tuple(allowed)):
            return uri.removeprefix(f"s3://{self.bucket}/")
        problems.append(
            f"the {what} must be below {' or '.join(allowed)}, as targets may copy nothing else, got {uri!r}"
        )
        return None


def _hexadecimal(checksum: str | None) -> str | None:
    """Return a full-object checksum of S3 in hexadecimal digits; None for a composite checksum, which ends in ``-<parts>``."""
    try:
        digest = base64.b64decode(checksum or "", validate=True)
    except binascii.Error:
        return None
    return digest.hex() if len(digest) == hashlib.sha256().digest_size else None


def _unread(what: str, uri: str, error: ClientError) -> str:
    return f"the {what} {uri} cannot be read: {error.response['Error']['Code']}"
