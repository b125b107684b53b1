"""Requests for S3 objects where MiniStack differs: conditions and checksums of copies, and the state of KMS keys.

CopyObject's conditions (``If-Match``, ``If-None-Match``) and checksum algorithms are ignored there. An object whose KMS key is
disabled or pending deletion can be neither read nor written; MiniStack stores the key's name with an object, and never checks the
key.

See: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html and
https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from ministack.core.responses import get_account_id
from ministack.services import kms, s3

from mlops_local.iam import owners
from mlops_local.iam.owners import bucket_owner

_ENCRYPTED = "x-amz-server-side-encryption"
_KEY = f"{_ENCRYPTED}-aws-kms-key-id"


def install() -> None:
    """Check the conditions of copies as MiniStack checks those of other writes."""
    copy = s3._copy_object

    # claim: copies-may-be-conditional
    def copy_where_allowed(bucket: str, key: str, headers: dict[str, str]) -> Any:
        limit = _version_elsewhere(headers)
        if limit is not None:
            return limit
        there = s3._buckets.get(bucket, {}).get("objects", {}).get(key)
        refused = s3._check_put_preconditions(headers, there)
        if refused is not None:
            return refused
        status, found, body = copy(bucket, key, _with_algorithm(headers))
        return status, found, _with_checksums(bucket, key, body) if status == HTTPStatus.OK else body

    s3._copy_object = copy_where_allowed
    _check_keys()


def _version_elsewhere(headers: dict[str, str]) -> Any:
    """Refuse to copy a version from another account's bucket: MiniStack finds versions in the caller's account only."""
    source, _, query = headers.get("x-amz-copy-source", "").partition("?")
    found = bucket_owner(unquote(source).lstrip("/").partition("/")[0])
    if "versionId=" not in query or found is None or found.account == get_account_id():
        return None
    return s3._error(
        "NotImplemented",
        "the embedded cloud copies only the current version of another account's object; name the object without versionId",
        HTTPStatus.NOT_IMPLEMENTED,
    )


# claim: copies-answer-with-their-checksums
def _with_checksums(bucket: str, key: str, body: bytes) -> bytes:
    """Return the response of a copy with the checksums of the new object."""
    written = s3._buckets[bucket]["objects"][key]
    checksums, kind = written.get("checksums") or {}, written.get("checksum_type") or "FULL_OBJECT"
    made = "".join(
        f"<Checksum{name.upper()}>{escape(value)}</Checksum{name.upper()}>" for name, value in checksums.items()
    )
    end = b"</CopyObjectResult>"
    return body.replace(end, f"{made}<ChecksumType>{kind}</ChecksumType>".encode() + end) if made else body


# claim: copies-have-the-hash-of-the-whole
def _with_algorithm(headers: dict[str, str]) -> dict[str, str]:
    """Return headers that name the checksum algorithm as uploads do, the only form that MiniStack reads."""
    algorithm = headers.get("x-amz-checksum-algorithm")
    return headers if algorithm is None else {**headers, "x-amz-sdk-checksum-algorithm": algorithm}


def _check_keys() -> None:
    """Check the key before an object is read, written or copied."""
    read, write, copy = s3._get_object, s3._put_object, s3._copy_object

    def read_with_key(bucket: str, key: str, headers: dict[str, str], query_params: Any = None) -> Any:
        return _refusal(_of_object(bucket, key)) or read(bucket, key, headers, query_params)

    def write_with_key(bucket: str, key: str, body: bytes, headers: dict[str, str]) -> Any:
        return _refusal(_of_write(bucket, headers)) or write(bucket, key, body, headers)

    def copy_with_keys(bucket: str, key: str, headers: dict[str, str]) -> Any:
        source, _, name = unquote(headers.get("x-amz-copy-source", "").partition("?")[0]).lstrip("/").partition("/")
        refused = _refusal(_of_object(source, name)) or _refusal(_of_write(bucket, headers))
        return refused or copy(bucket, key, headers)

    s3._get_object, s3._put_object, s3._copy_object = read_with_key, write_with_key, copy_with_keys


def _of_object(bucket: str, key: str) -> Mapping[str, str]:
    with owners.scope_of(bucket_owner(bucket)):
        record = s3._buckets.get(bucket, {}).get("objects", {}).get(key) or {}
    return record.get("preserved_headers") or {}


def _of_write(bucket: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    if headers.get(_ENCRYPTED):
        return headers
    with owners.scope_of(bucket_owner(bucket)):
        return dict(s3._bucket_default_sse_headers(bucket))


def _refusal(encryption: Mapping[str, str]) -> Any:
    """Return S3's error for an unusable key; ``None`` if the key is usable or managed by AWS."""
    name = encryption.get(_KEY)
    if encryption.get(_ENCRYPTED) != "aws:kms" or not name:
        return None
    with owners.scope_of(owners.owner(name)):
        record = kms._resolve_key(name)
    # claim: objects-need-their-key-enabled
    if record is None or record["KeyState"] == "Enabled":
        return None
    if record["KeyState"] == "Disabled":
        return s3._error("KMS.DisabledException", f"{record['Arn']} is disabled.", HTTPStatus.BAD_REQUEST)
    words = f"{record['Arn']} is pending deletion."
    return s3._error("KMS.KMSInvalidStateException", words, HTTPStatus.BAD_REQUEST)
