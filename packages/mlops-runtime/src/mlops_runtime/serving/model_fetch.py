"""``python -m mlops_runtime.serving fetch <s3 uri> <sha256> <folder>``: what SageMaker does with model data, for a pod.

The archive is hashed as it arrives and unpacked only if it is the one that was registered. A pod's credentials may come seconds
after the pod: what may pass by itself is tried again, for about a minute and a half.
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
# pauses between tries: the agent answers late on a new node, an association or a policy is seconds old
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
# what another try does not change
_FINAL = ("NoSuchBucket", "NoSuchKey", "404", "InvalidBucketName", "PermanentRedirect", "InvalidObjectState")

_log = logging.getLogger("mlops.serving")


class FetchError(RuntimeError):
    """Model data cannot be fetched; the message says what was asked for, what is wrong and the fix."""


class DigestError(ArchiveError):
    """The archive is not the one that was registered."""


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
    """Download, compare, unpack. Returns the names of the files.

    Args:
        uri: ``s3://bucket/key`` of the archive.
        sha256: Its SHA-256, as the model package has it.
        folder: Where its files come to lie; empty, or left by an earlier call.
        client: Creates an S3 client; called for each try, so that credentials are resolved again.
        limits: What may be inside. Default: ``Limits()``.
        max_bytes: Bytes of the archive at most. Default: 10 GiB.
        sleep: Waits between tries. Default: ``time.sleep``.

    Raises:
        FetchError: The arguments are wrong, or S3 does not give the object.
        ArchiveError: The bytes are not those that were registered, or are refused.

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
    """Return an S3 client of a session of its own: botocore keeps what a session once found, also that there was nothing."""
    config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 3})
    return boto3.session.Session().client("s3", config=config)


def main(arguments: list[str]) -> int:
    """Fetch as the arguments say. Returns the exit code: 2 for wrong arguments, 1 for what is refused."""
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
                message = f"s3://{bucket}/{key}: {reason} after {len(_PAUSES) + 1} tries; {_fix(error)}"
                raise FetchError(message) from error
            _log.warning("s3://%s/%s: %s; tried again in %d s", bucket, key, reason, pause)
        sleep(pause)
    raise AssertionError("the last try returns or raises")


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
    """Return what went wrong if another try may help, None for what is not S3's.

    Raises:
        FetchError: S3 reports that there is nothing to wait for.
    """
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _FINAL:
            raise FetchError(f"{error}; give the URI of an object that is there, in the model package") from error
        return str(error)
    # ResponseStreamingError and IncompleteReadError of a body that breaks off are among these
    if isinstance(error, BotoCoreError):
        return f"{type(error).__name__}: {error}"
    return None


def _fix(error: Exception) -> str:
    if isinstance(error, NoCredentialsError | CredentialRetrievalError):
        return "give the service account a pod identity association, and let the pod reach the agent at 169.254.170.23"
    if "AccessDenied" in str(error):
        return "let the pod's role read this object (s3:GetObject), and its key (kms:Decrypt)"
    return "let the pod reach S3 on port 443"
