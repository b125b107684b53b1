"""``python -m mlops_runtime.serving fetch <s3 uri> <sha256> <folder>``: download model data for a pod, as SageMaker does.

The archive is hashed while it is downloaded and only unpacked if it is the registered one. A pod's credentials may become available
seconds after the pod starts, so errors that may be temporary are retried, for about a minute and a half.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, NoCredentialsError

from mlops_runtime.serving.model_archive import ArchiveError, Limits, staging, unpack

ARGUMENTS = "fetch <s3://bucket/key> <sha256> <folder>"
MAX_ARCHIVE_BYTES = 10 * 1024**3
_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", re.DOTALL)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1024 * 1024
# pauses between attempts: on a new node the agent starts late, and associations and policies take seconds to propagate
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
# errors that a retry does not fix
_FINAL = ("NoSuchBucket", "NoSuchKey", "404", "InvalidBucketName", "PermanentRedirect", "InvalidObjectState")

_log = logging.getLogger("mlops.serving")


class FetchError(RuntimeError):
    """Model data cannot be fetched; the message names the object, the problem and the fix."""


class DigestError(ArchiveError):
    """The archive is not the registered one."""


def fetch(
    uri: str,
    sha256: str,
    folder: Path,
    *,
    client: Callable[[], Any],
    limits: Limits | None = None,
    max_bytes: int = MAX_ARCHIVE_BYTES,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[str, ...]:
    """Download an archive, verify its hash and unpack it. Returns the names of the files.

    Args:
        uri: ``s3://bucket/key`` of the archive.
        sha256: Its SHA-256, as in the model package.
        folder: Target folder; empty, or with files of an earlier call.
        client: Creates an S3 client; called for each attempt, so that credentials are resolved again.
        limits: Limits of the archive. Default: ``Limits()``.
        max_bytes: Maximum bytes of the archive. Default: 10 GiB.
        sleep: Waits between attempts. Default: ``time.sleep``.

    Raises:
        FetchError: If the arguments are invalid, or S3 does not return the object.
        ArchiveError: If the archive is not the registered one, or is rejected.

    Example:
        >>> fetch("s3://b/model.tar.gz", "0" * 64, Path("/opt/ml/model"), client=lambda: boto3.client("s3"))  # doctest: +SKIP
        ('model.onnx', 'signature.json')
    """
    bucket, key = _location(uri, sha256)
    with staging(folder) as stage:
        archive = stage / "archive"
        digest = _download(client, bucket, key, archive, max_bytes=max_bytes, sleep=sleep)
        if digest != sha256.lower():
            raise DigestError(f"{uri} has SHA-256 {digest}, expected {sha256}: not the archive that was registered")
        with archive.open("rb") as packed:
            return unpack(packed, folder, limits=limits, stage=stage / "files")


def s3_client() -> Any:
    """Return an S3 client of a new session: botocore caches credentials per session, including their absence."""
    config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 3})
    return boto3.session.Session().client("s3", config=config)


def main(arguments: list[str]) -> int:
    """Run the command. Returns the exit code: 2 for invalid arguments, 1 for an error."""
    if len(arguments) != 3:
        _log.error("usage: python -m mlops_runtime.serving %s, got %s", ARGUMENTS, arguments)
        return 2
    uri, sha256, folder = arguments
    try:
        files = fetch(uri, sha256, Path(folder), client=s3_client)
    except (FetchError, ArchiveError, OSError) as error:
        _log.error("cannot fetch %s: %s: %s", uri, type(error).__name__, error)
        return 1
    _log.info("%d files of %s in %s", len(files), uri, folder)
    return 0


def _location(uri: str, sha256: str) -> tuple[str, str]:
    found = _URI.fullmatch(uri)
    problems = [] if found else [f"the archive must be s3://bucket/key, got {uri!r}"]
    if not _SHA256.fullmatch(sha256.lower()):
        problems.append(f"the SHA-256 must be 64 hexadecimal digits, got {sha256!r}")
    if found is None or problems:
        raise FetchError("; ".join(problems))
    return found[1], found[2]


def _download(
    client: Callable[[], Any], bucket: str, key: str, path: Path, *, max_bytes: int, sleep: Callable[[float], None]
) -> str:
    for pause in (*_PAUSES, None):
        try:
            with path.open("wb") as output:
                return _copy(client().get_object(Bucket=bucket, Key=key), output, max_bytes)
        except Exception as error:
            reason = _passing(error)
            if reason is None:
                raise
            if pause is None:
                message = f"s3://{bucket}/{key}: {reason} after {len(_PAUSES) + 1} attempts; {_fix(error)}"
                raise FetchError(message) from error
            _log.warning("s3://%s/%s: %s; retried in %d s", bucket, key, reason, pause)
        sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _copy(answer: Any, output: BinaryIO, max_bytes: int) -> str:
    digest, size = hashlib.sha256(), 0
    for part in answer["Body"].iter_chunks(_CHUNK):
        size += len(part)
        if size > max_bytes:
            raise FetchError(f"the archive has more than {max_bytes} bytes; ship less beside the model")
        digest.update(part)
        output.write(part)
    return digest.hexdigest()


def _passing(error: Exception) -> str | None:
    """Return the reason if a retry may help, None for errors not from S3.

    Raises:
        FetchError: If S3 reports an error that a retry does not fix.
    """
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _FINAL:
            raise FetchError(f"{error}; use the URI of an existing object in the model package") from error
        return str(error)
    # includes ResponseStreamingError and IncompleteReadError of an interrupted body
    if isinstance(error, BotoCoreError):
        return f"{type(error).__name__}: {error}"
    return None


def _fix(error: Exception) -> str:
    if isinstance(error, NoCredentialsError | CredentialRetrievalError):
        return "give the service account a pod identity association, and allow the pod to reach the agent at 169.254.170.23"
    if "AccessDenied" in str(error):
        return "allow the pod's role to read this object (s3:GetObject) and use its key (kms:Decrypt)"
    return "allow the pod to reach S3 on port 443"
